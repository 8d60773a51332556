import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._core import linalg
from .._core.aliases import (
    Flag,
    Means,
    PerComponentFlag,
    PerFeature,
    Pivot,
    Rows,
    Scalar,
)
from .._core.axes import Axis
from .._core.batching import rows_product
from .._covariances import (
    AbstractCovariances,
    AbstractWhitening,
    add_noise,
    allows,
    FullCovariances,
    has_features_alike,
    Triangular,
    without,
)
from .._mixture import GaussianMixture
from .._mixture.incomplete import (
    Dense,
    dense_of,
    expected,
    inverse_factor,
    see,
    seen_means,
)
from .._moments import Moments
from .._sources import Chunk, Record, Records
from .complete import choose, Near, responsibilities
from .e_step import AbstractEStep, Expectation
from .packings import FullPacking, moments, parameters
from .pseudo import statistic_of


# Sums over the samples of a block: for each component, counts, vectors and matrices.
class _Sums(eqx.Module):
    count: Float[Array, " k"]
    first: Float[Array, "k d"]
    second: Float[Array, "k d d"]
    log_likelihood: Scalar


class Incomplete(AbstractEStep):
    r"""E-step of samples of which parts are missing, noisy, or seen through a matrix.

    With $T_k = H Σ_k H^T + R$ and $u = T_k^{-1} (y - H μ_k)$, a sample's latent $x$ has
    the mean $μ_k + Σ_k H^T u$ and the covariance $Σ_k - Σ_k H^T T_k^{-1} H Σ_k$.

    Samples that share $H$ and $R$ are taken by packed features, as complete ones are:
    their latent moments are linear images of their moments in $y$. For others, $T_k$
    is factorised for each of them.

    Mixtures are those of $z = x + e$, where $e$ is independent noise with variances
    `slack`, a part of all noise: $Σ_k$ plus the slack. Then $y = H z$ plus the rest of
    the noise, and EM moves covariances that are nearly singular as fast as others; with
    the same noise for all samples and one component it is at the end after one step.
    The M-step is held to covariances of at least the slack.

    **Attributes:**

    - `source`: the data.
    - `slack`: shape `(1, 1, features, 1)`, or `None` for none.

    ??? cite "Reference"

        Bovy, Hogg, Roweis (2011), Extreme Deconvolution: Inferring Complete
        Distribution Functions from Noisy, Heterogeneous and Incomplete Observations.
        Annals of Applied Statistics 5(2B), 1657-1677.
    """

    source: Records
    slack: PerFeature | None = None

    @property
    def is_exact(self) -> bool:
        return not self._has_groups

    @property
    def counted(self) -> Scalar | None:
        has_background = self.source.blocks.log_background is not None
        return self.source.counted if has_background else None

    @property
    def _has_groups(self) -> bool:
        return self.source.is_grouped

    def expect(
        self,
        mixture: GaussianMixture,
        whitening: AbstractWhitening,
        pivot: Pivot,
        is_near: PerComponentFlag | None = None,
    ) -> Expectation:
        del whitening
        k, d = mixture.n_components, mixture.n_features
        dense = dense_of(mixture.covariances, k, d)
        own = dense
        if self.slack is not None:
            own = dense - linalg.diagonal(self.slack)[0]
        pivot = jnp.broadcast_to(pivot, mixture.means.shape)
        if not self._has_groups:
            sums = self.source.reduce(lambda record: _pulls(mixture, own, record))
            found = _latent(mixture, dense, pivot, sums)
        else:
            # Moments that are not about the pivot are about the source's.
            about = pivot if is_near is None else jnp.where(is_near, pivot, 0)
            group = lambda record: _images(mixture, dense, own, about, is_near, record)
            found = self.source.reduce(group)
        moments = Moments(
            count=found.count[None, :, None, None],
            first=found.first[None, :, :, None],
            second=statistic_of(mixture.covariances, found.second),
        )
        return Expectation(moments, found.log_likelihood)


def slack_for(
    covariances: AbstractCovariances, slack: PerFeature | None
) -> PerFeature | None:
    """The slack that a family has an M-step with, or `None`.

    **Arguments:**

    - `covariances`: only their family counts.
    - `slack`: of the data.
    """
    if slack is None or not allows(covariances):
        return None
    if not has_features_alike(covariances):
        return slack
    least = jnp.min(slack, axis=Axis.features, keepdims=True)
    return jnp.broadcast_to(least, slack.shape)


def with_slack(mixture: GaussianMixture, slack: PerFeature | None) -> GaussianMixture:
    """The mixture of $z$, from that of $x$."""
    if slack is None:
        return mixture
    covariances = add_noise(mixture.covariances, slack)
    return GaussianMixture(mixture.weights, mixture.means, covariances)


def without_slack(
    mixture: GaussianMixture, slack: PerFeature | None
) -> tuple[GaussianMixture, Flag]:
    """The mixture of $x$, from that of $z$, and whether a covariance of it is
    singular."""
    if slack is None:
        return mixture, jnp.array(False)
    covariances, singular = without(mixture.covariances, slack)
    found = GaussianMixture(mixture.weights, mixture.means, covariances)
    return found, jnp.any(singular & (mixture.weights > 0))


def _with_background(
    mixture: GaussianMixture, joint: Rows, record: Record
) -> tuple[Rows, Scalar]:
    """Responsibilities of the components, and the log-likelihood."""
    log_background = record.log_background
    if log_background is None:
        return responsibilities(joint, record.weights)
    rest = 1 - jnp.sum(mixture.weights)
    row = linalg.safe_log(jnp.maximum(rest, 0)) + log_background
    # A number, since -inf times zero would be NaN in derivatives.
    row = jnp.maximum(row, 0.5 * float(jnp.finfo(row.dtype).min))
    both = jnp.concatenate([joint, row[None]])
    resp, log_likelihood = responsibilities(both, record.weights)
    return resp[:-1], log_likelihood


def _pulls(mixture: GaussianMixture, dense: Dense, record: Record) -> _Sums:
    r"""$\sum r H^T u$ and $\sum r H^T (u u^T - T^{-1}) H$: what moves a component's
    mean and covariance."""
    seen = see(mixture.means, dense, record)
    log_weights = linalg.safe_log(mixture.weights)[0, :, :, 0]
    lowest = 0.5 * float(jnp.finfo(dense.dtype).min)
    joint = jnp.maximum(seen.log_density + log_weights, lowest)
    joint = jnp.where(jnp.isnan(seen.log_density), jnp.nan, joint)
    resp, log_likelihood = _with_background(mixture, joint, record)
    pull = seen.pull
    m = pull.shape[1]
    if record.operator is None or record.operator.shape[-1] == 1:
        pairs = [(i, j) for i in range(m) for j in range(i + 1)]
        present = record.present
        rows = [resp, *(resp * pull[:, i] for i in range(m))]
        for i, j in pairs:
            spread = seen.precision_at(i, j)
            if present is not None:
                spread = jnp.where((present[i] & present[j])[None], spread, 0)
            rows.append(resp * (pull[:, i] * pull[:, j] - spread))
        # A product: a CPU takes ten times as long for a sum over samples.
        stacked = jnp.stack(rows).reshape(-1, resp.shape[1])
        totals = linalg.matmul(stacked, jnp.ones((resp.shape[1], 1), resp.dtype))
        totals = totals.reshape(len(rows), -1).T
        count, first = totals[:, 0], totals[:, 1 : m + 1]
        second = _symmetric(totals[:, m + 1 :], m)
        if record.operator is not None:
            across = record.operator[None, :, :, 0]
            up = linalg.transpose(across)
            first = linalg.matmul(up, first[..., None])[..., 0]
            second = linalg.matmul(linalg.matmul(up, second), across)
        return _Sums(count, first, second, log_likelihood)
    precision = seen.precision
    if record.present is not None:
        both = record.present[:, None] & record.present[None]
        precision = jnp.where(both[None], precision, 0)
    count = jnp.sum(resp, axis=1)
    operator = record.operator[None]
    push = jnp.sum(operator * pull[:, :, None], axis=1)
    half = jnp.sum(precision[:, :, :, None] * operator[:, None], axis=2)
    lost = jnp.sum(operator[:, :, :, None] * half[:, :, None], axis=1)
    change = push[:, :, None] * push[:, None] - lost
    share = resp[..., None]
    first = linalg.matmul(push, share)[..., 0]
    k, d, _, n = change.shape
    second = linalg.matmul(change.reshape(k, d * d, n), share).reshape(k, d, d)
    return _Sums(count, first, second, log_likelihood)


def _symmetric(lower: Float[Array, "k e"], m: int) -> Float[Array, "k m m"]:
    at = lambda i, j: max(i, j) * (max(i, j) + 1) // 2 + min(i, j)
    index = jnp.array([[at(i, j) for j in range(m)] for i in range(m)])
    return lower[:, index]


def _latent(mixture: GaussianMixture, dense: Dense, pivot: Means, sums: _Sums) -> _Sums:
    """Latent moments about the pivot."""
    count = sums.count[:, None]
    offset = (mixture.means - pivot)[0, :, :, 0]
    moved = linalg.matmul(dense, sums.first[..., None])[..., 0]
    change = linalg.matmul(linalg.matmul(dense, sums.second), dense)
    across = offset[:, :, None] * moved[:, None]
    second = count[..., None] * (dense + offset[:, :, None] * offset[:, None])
    second = second + across + linalg.transpose(across) + linalg.symmetrise(change)
    return _Sums(sums.count, count * offset + moved, second, sums.log_likelihood)


def _images(
    mixture: GaussianMixture,
    dense: Dense,
    own: Dense,
    pivot: Means,
    is_near: PerComponentFlag | None,
    record: Record,
) -> _Sums:
    """Latent moments about the pivot of samples that share all but their values.

    **Arguments:**

    - `dense`: of what is latent.
    - `own`: of what `record` has all the noise of.
    """
    inverse = inverse_factor(expected(own, record))[..., 0]
    upper = linalg.transpose(inverse)
    seen = GaussianMixture(
        mixture.weights,
        seen_means(mixture.means, record)[None],
        # Of a family of square matrices; only its whitening is used.
        FullCovariances(jnp.zeros_like(inverse)[None]),
    )
    about = seen_means(pivot, record)[None]
    present = record.present
    m = record.values.shape[0]
    missing = 0.0
    if present is not None:
        flag = present[None, None]
        seen = GaussianMixture(
            seen.weights, jnp.where(flag, seen.means, 0), seen.covariances
        )
        about = jnp.where(flag, about, 0)
        missing = jnp.sum(~present).astype(dense.dtype)
    whitening = Triangular(upper[None])
    chunk = Chunk(record.values, record.weights)
    near = Near.of(seen, whitening, about, is_near)
    # What is missing counts as a standard normal's zero.
    constant = 0.5 * missing * linalg.LOG_2PI
    if is_near is None:
        shape = (mixture.n_components, record.weights.size)
        joint = near.joint(jnp.zeros(shape, dense.dtype), chunk) + constant
        resp, log_likelihood = _with_background(mixture, joint, record)
        found = near.moments(chunk, resp)
    else:
        rule = FullPacking()
        theta = parameters(rule, seen, whitening)
        features = jax.lax.optimization_barrier(rule.features(chunk.columns))
        joint = near.joint(linalg.matmul(theta, features), chunk) + constant
        resp, log_likelihood = _with_background(mixture, joint, record)
        far = moments(rule, rows_product(features, resp), m)
        found = choose(is_near, far, near.moments(chunk, resp))
    count, first, second = found.count[0], found.first[0], found.second[0]
    precision = linalg.matmul(upper, inverse)
    # The gain G and, with the pull of the mean to the pivot, h = (1 - G H)(μ - c).
    back = (
        dense
        if record.operator is None
        else linalg.matmul(dense, linalg.transpose(record.operator[None, :, :, 0]))
    )
    if present is not None:
        back = jnp.where(present[None, None, :, 0], back, 0)
    gain = linalg.matmul(back, precision)
    offset = (mixture.means - pivot)[0]
    offset = offset - linalg.matmul(gain, (seen.means - about)[0])
    # In the order of a square, which rounding leaves positive.
    half = linalg.matmul(back, upper)
    spread = dense - linalg.matmul(half, linalg.transpose(half))
    moved = linalg.matmul(gain, first)
    across = linalg.matmul(offset, linalg.transpose(moved))
    square = linalg.matmul(linalg.matmul(gain, second), linalg.transpose(gain))
    total = count * (spread + linalg.matmul(offset, linalg.transpose(offset)))
    total = total + across + linalg.transpose(across) + linalg.symmetrise(square)
    return _Sums(
        count[:, 0, 0], (count * offset + moved)[..., 0], total, log_likelihood
    )
