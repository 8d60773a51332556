"""Passes over blocks of samples of which values are missing, or that are noisy: what is
known of them as a whole."""

import functools as ft

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PyTree

from .._core.aliases import Scalar
from .._core.programs import program
from .._sources import (
    Block,
    Blocks,
    count_patterns,
    divide_slack,
    each_block,
    Groups,
    least_noise,
    noise_of,
    Observed,
    ObservedFacts,
    worst_share,
)
from .pace import Pace
from .passes import AnyFacts, Facts


def facts_of(data: Blocks, dtype: jnp.dtype, pace: Pace | None = None) -> AnyFacts:
    """What is known of blocks as a whole, in numbers of type `dtype`.

    **Raises:**

    `ValueError` for samples or noise that cannot be right.
    """
    if not data.is_observed:
        return Facts.of(data, dtype, pace)
    d = data.shape[1]
    count, mean, square = (np.zeros(d) for _ in range(3))
    low, high = np.full(d, np.inf), np.full(d, -np.inf)
    least = None
    total, counted, n_patterns = 0.0, 0.0, 1
    if pace is not None:
        pace(0)
    for number, found in enumerate(each_block(data, _load_checked, _sums_of)):
        if pace is not None:
            pace(number + 1)
        found = jax.tree.map(np.float64, found)
        (own, own_mean, own_square, own_low, own_high, *weights), own_least, own_n = (
            found
        )
        n_patterns = max(n_patterns, int(own_n))
        low, high = np.minimum(low, own_low), np.maximum(high, own_high)
        total, counted = total + weights[0], counted + weights[1]
        # Chan, Golub, LeVeque: about the mean of each, so that no digits cancel.
        both = np.where(count + own == 0, 1, count + own)
        gap = own_mean - mean
        square = square + own_square + gap**2 * (count * own / both)
        mean = mean + gap * (own / both)
        count = count + own
        if own_least is not None:
            least = own_least if least is None else np.minimum(least, own_least)
    unseen = np.flatnonzero(count == 0).tolist()
    if unseen:
        raise ValueError(
            f"Feature {unseen[0]} is never observed: the data says nothing of it. "
            "Leave it out."
        )
    slack = None if least is None else _slack(data, least)
    eps = float(jnp.finfo(dtype).eps)
    largest = np.abs(mean) + np.maximum(np.abs(high - mean), np.abs(low - mean))
    as_feature = lambda row: jnp.asarray(row[None, None, :, None], dtype)
    return ObservedFacts(
        pivot=as_feature(mean),
        variances=as_feature(square / count),
        resolution=as_feature((0.5 * eps * largest) ** 2),
        total=jnp.asarray(total, dtype),
        counted=jnp.asarray(counted, dtype),
        slack=None if slack is None else as_feature(slack),
        misses=data.misses,
        has_own_noise=data.has_own_noise,
        groups=_groups(data, n_patterns),
    )


def _groups(data: Blocks, n_patterns: int) -> Groups | None:
    if data.has_own_noise or not data.misses:
        return None
    return Groups.of(data.rows, n_patterns)


def _load_checked(data: Blocks, number: int) -> Block:
    block = data.load(number)
    block.check_finite()
    noise = block.noise
    if data.has_own_noise and noise is not None:
        noise = noise[: block.n_samples]
    # For its checks, of samples that count.
    y = np.where((block.weight > 0)[:, None], block.x, 0)[: block.n_samples]
    try:
        Observed(y, R=noise)
    except ValueError as error:
        raise ValueError(str(error).replace("`R`", "`noise`")) from None
    return block


def _sums_of(block: Block) -> PyTree:
    n_patterns = count_patterns(np.isnan(block.x)) if block.misses else 1
    return *_sums(jax.device_put(block.observed)), np.asarray(n_patterns)


@program()
def _sums(observed: Observed) -> PyTree[Float[Array, "..."]]:
    """Of every feature: weight, mean, sum of squares about it, least and largest; the
    weight of all samples, and of those of which anything was seen; the least noise."""
    y, present, weight = _seen(observed)
    share = jnp.where(present, weight[:, None], 0)
    count = jnp.sum(share, axis=0)
    divisor = jnp.where(count > 0, count, 1)
    mean = jnp.sum(share * y, axis=0) / divisor
    mean = mean + jnp.sum(share * (y - mean[None]), axis=0) / divisor
    square = jnp.sum(share * (y - mean[None]) ** 2, axis=0)
    low = jnp.min(jnp.where(present, y, jnp.inf), axis=0)
    high = jnp.max(jnp.where(present, y, -jnp.inf), axis=0)
    counted = jnp.sum(jnp.where(jnp.any(present, axis=1), weight, 0))
    noise = noise_of(observed)
    least = None
    if noise is not None:
        least = least_noise(present, None, noise, y.shape[1])
    return (count, mean, square, low, high, jnp.sum(weight), counted), least


def _slack(data: Blocks, least: Float[np.ndarray, " d"]) -> Float[np.ndarray, " d"]:
    """Variances of independent noise that is a part of all noise; noise with
    correlations takes one more pass."""
    least = np.where(np.isfinite(least), least, 0)
    noise = noise_of(jax.device_put(data.load(0).observed))
    assert noise is not None
    if noise.shape[-1] == 1:
        return least
    of_block = ft.partial(_worst_of, least.astype(data.dtype))
    worst = max(map(float, each_block(data, Blocks.load, of_block)))
    return np.asarray(divide_slack(jnp.asarray(least), jnp.asarray(worst)), float)


def _worst_of(least: Float[np.ndarray, " d"], block: Block) -> Scalar:
    return _worst(jax.device_put(block.observed), jnp.asarray(least))


@program()
def _worst(observed: Observed, least: Float[Array, " d"]) -> Scalar:
    _, present, _ = _seen(observed)
    noise = noise_of(observed)
    assert noise is not None
    return worst_share(present, None, noise, least)


def _seen(
    observed: Observed,
) -> tuple[Float[Array, "n d"], Bool[Array, "n d"], Float[Array, " n"]]:
    """Values, which are there, and weights."""
    weight = observed.sample_weight
    assert weight is not None
    present = ~jnp.isnan(observed.y) & (weight > 0)[:, None]
    return jnp.where(present, observed.y, 0), present, weight
