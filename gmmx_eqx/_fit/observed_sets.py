"""Many data sets of which not everything is known, as one."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._core import buckets, inputs
from .._core.describe import describe
from .._core.known import constant
from .._core.programs import program
from .._mixture.latent import check_no_weight, completed, Latent
from .._sources import check_coverage, features_of, Layout, Observed, observed_of
from .fit_observed import Gathered


def gather_sets(
    xs: Any, sample_weight: Any, n_components: int
) -> tuple[Gathered | None, Any, Any]:
    """Of a sequence of `Observed`, what is fitted, with a leading axis of data sets,
    and the samples and weights that random starts are made of; of anything else, that.

    **Raises:**

    `ValueError` for what cannot be right.
    """
    if isinstance(xs, Observed):
        raise ValueError(
            "`xs` must be a sequence of data sets, such as `[gmmx_eqx.Observed(y, "
            "R=R), ...]`; got a single `gmmx_eqx.Observed`, for `gmmx_eqx.fit`."
        )
    is_listed = isinstance(xs, Sequence) and not isinstance(xs, str)
    if not is_listed or not any(isinstance(x, Observed) for x in xs):
        return None, xs, sample_weight
    check_no_weight(sample_weight)
    n_features = _check(xs)
    given: Any = xs
    sets: list[Observed] = list(given)
    n_samples = buckets.size(max(x.n_samples for x in sets), len(sets))
    # More than outputs: variances of each sample are then no square matrix.
    n_samples = max(n_samples, sets[0].n_outputs + 1)
    observed = _stacked(sets, n_samples, n_features)
    layout = Layout.of_sets(sets, n_components)
    if layout is None:
        layout = Layout.in_order(observed, n_components)
    weights, unit = inputs.balance(observed.sample_weight)
    if np.any(unit != 1):
        raise ValueError(
            "`sample_weight` of `gmmx_eqx.Observed` must count samples in many fits; "
            "some weights are too large or too small. Divide them by their mean."
        )
    gathered = Gathered(observed, layout, None, n_features)
    starts = Latent(observed, Layout.in_order(observed, 1))
    return gathered, *_completed_sets(starts, n_features)


@program()
def _completed_sets(
    latent: Latent, n_features: int
) -> tuple[Float[Array, "sets n d"], Float[Array, "sets n"]]:
    return eqx.filter_vmap(lambda own: completed(own, n_features))(latent)


def _check(sets: Sequence[Any]) -> int:
    """Of how many features the data sets are, which must be the same for all."""
    for i, x in enumerate(sets):
        if not isinstance(x, Observed):
            raise ValueError(
                f"`xs[{i}]` must be a `gmmx_eqx.Observed`, as others are; got "
                f"{describe(x)}. Complete data is `gmmx_eqx.Observed(x)`."
            )
        sizes = [(own.n_outputs, features_of(own)) for own in (sets[0], x)]
        if sizes[0] != sizes[1]:
            raise ValueError(
                f"`xs[{i}]` must have as many outputs and features as `xs[0]`, "
                f"{sizes[0]}; got {sizes[1]}."
            )
        try:
            check_coverage(x, sizes[1][1], 1)
        except ValueError as error:
            raise ValueError(f"`xs[{i}]`: {error}") from None
    return features_of(sets[0])


def _stacked(sets: list[Observed], n_samples: int, n_features: int) -> Observed:
    """With leading axes of data sets. What is shorter is padded with its first sample,
    of weight zero."""
    m = sets[0].n_outputs
    dtype = inputs.widest([x.y for x in sets])
    y = _array([_filled(x.y, n_samples) for x in sets], dtype)
    weights = []
    for x in sets:
        own = x.sample_weight
        own = np.ones(x.n_samples, dtype) if own is None else own
        weights.append(_filled(own, n_samples, 0.0))
    weight = _array(weights, dtype)
    H = R = None
    if any(x.H is not None for x in sets):
        eye = np.eye(m, n_features, dtype=dtype)
        maps = [eye if x.H is None else x.H for x in sets]
        H = _array(_alike(maps, [a.ndim == 3 for a in maps], sets, n_samples), dtype)
    if any(x.R is not None for x in sets):
        zero = np.zeros((), dtype)
        noises = [_square(zero if x.R is None else x.R, m, sets) for x in sets]
        is_own = [x.R is not None and _is_own(x.R, m) for x in sets]
        R = _array(_alike(noises, is_own, sets, n_samples), dtype)
    return observed_of(y, H, R, weight)


def _is_own(R: Any, m: int) -> bool:
    """Whether every sample has noise of its own."""
    return R.ndim == 3 or (R.ndim == 2 and R.shape != (m, m))


def _square(R: Any, m: int, sets: list[Observed]) -> Any:
    """Noise as variances or, if any set has matrices, as matrices."""
    xp: Any = jnp if isinstance(R, jax.core.Tracer) else np
    known = (x.R for x in sets if x.R is not None)
    has_matrices = any(r.ndim == 3 or r.shape == (m, m) and r.ndim == 2 for r in known)
    if R.ndim == 3 or (R.ndim == 2 and R.shape == (m, m)):
        return R
    R = xp.broadcast_to(R, (*R.shape[:-1], m))
    return R[..., None] * np.eye(m, dtype=R.dtype) if has_matrices else R


def _alike(
    arrays: list[Any], is_own: list[bool], sets: list[Observed], n_samples: int
) -> list[Any]:
    """One for each sample of all sets, if that is so in any."""
    if not any(is_own):
        return arrays
    each = []
    for array, own, x in zip(arrays, is_own, sets, strict=True):
        xp: Any = jnp if isinstance(array, jax.core.Tracer) else np
        if not own:
            array = xp.broadcast_to(array, (x.n_samples, *array.shape))
        each.append(_filled(array, n_samples))
    return each


def _filled(array: Any, n_samples: int, value: float | None = None) -> Any:
    """With as many rows, of the value or like the first one."""
    xp: Any = jnp if isinstance(array, jax.core.Tracer) else np
    array = xp.asarray(array)
    shape = (n_samples - len(array), *array.shape[1:])
    row = array[:1] if value is None else xp.asarray(value, array.dtype)
    return xp.concatenate([array, xp.broadcast_to(row, shape)])


def _array(arrays: list[Any], dtype: np.dtype) -> Array:
    if any(isinstance(array, jax.core.Tracer) for array in arrays):
        return jnp.stack([jnp.asarray(array).astype(dtype) for array in arrays])
    return constant(np.stack([np.asarray(array, dtype) for array in arrays]))
