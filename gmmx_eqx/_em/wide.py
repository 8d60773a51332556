"""The E-step of full covariances with the matrices of all components as one: faster
than packed features for few components, and more accurate."""

import jax.numpy as jnp

from .._core import linalg
from .._core.aliases import Flag, Means, Scalar, Values
from .._core.axes import Axis
from .._covariances import factor, FullCovariances
from .._mixture import GaussianMixture
from .._moments import Moments
from .._sources import AbstractSource, Chunk, reduce_parts
from .guard import amplification, is_accurate
from .residual import Expectation, part_size, responsibilities


# Errors are about a tenth of eps times the amplification where it is large; those of
# packed features are several times as large as eps times theirs.
_MARGIN = 8


def is_fastest(mixture: GaussianMixture) -> bool:
    """Whether this kernel is the fastest, as measured on a CPU: there are few
    components for that many features."""
    return _is_full(mixture) and mixture.n_components <= mixture.n_features // 8


def is_second(mixture: GaussianMixture) -> bool:
    """Whether it is to be tried where packed features are not accurate, which is often
    so in float32 and many dimensions. It then takes at most twice as long as those, and
    residuals several times."""
    d = mixture.n_features
    often_wanted = mixture.means.dtype == jnp.float32 and d >= 32
    return _is_full(mixture) and often_wanted and mixture.n_components <= 2 * d


def _is_full(mixture: GaussianMixture) -> bool:
    return isinstance(mixture.covariances, FullCovariances)


def expect_wide(
    mixture: GaussianMixture, source: AbstractSource, u: Values
) -> Expectation:
    r"""The E-step, with moments about the mixture's means.

    Whitened residuals are $U_k^T x - U_k^T μ_k$, and second moments $\sum_n r_{nk} (x_n
    - μ_k) x_n^T$ less what the pivots account for: one product each, with the rows of
    all components. Rounding errors grow with the distance of components, where those of
    packed features grow with its square.

    **Arguments:**

    - `mixture`: the current estimate, about the source's own pivot.
    - `source`: the data.
    - `u`: the `precisions_cholesky` of its covariances.
    """
    n_components, d = mixture.n_components, mixture.n_features
    transposed = jnp.swapaxes(u, Axis.features, Axis.features_covar)
    rows = transposed.reshape(n_components * d, d)
    means = mixture.means[0]
    shift = linalg.matmul(transposed[0], means)
    constant = (factor.log_det(u) + mixture.log_weights)[0, :, 0]
    constant = constant - 0.5 * d * linalg.LOG_2PI

    def of_chunk(chunk: Chunk):
        columns = chunk.columns
        whitened = linalg.matmul(rows, columns).reshape(n_components, d, -1) - shift
        joint = constant - 0.5 * jnp.sum(whitened**2, axis=1)
        resp, log_likelihood = responsibilities(joint, chunk.weights)
        weighted = resp[:, None] * (columns[None] - means)
        # First moments come from the same product: those from sums of x would differ
        # by a rounding error, which the pivots then multiply.
        factors = jnp.concatenate([columns, jnp.ones_like(columns[:1])])
        products = linalg.matmul(weighted.reshape(n_components * d, -1), factors.T)
        return jnp.sum(resp, axis=1), products, log_likelihood

    size = part_size(mixture)
    parts = source.reduce(lambda chunk: reduce_parts(of_chunk, chunk, size))
    count, products, log_likelihood = parts
    products = products.reshape(1, n_components, d, d + 1)
    products, first = products[..., :d], products[..., d:]
    outer = first * jnp.swapaxes(mixture.means, Axis.features, Axis.features_covar)
    moments = Moments(
        count=count[None, :, None, None],
        first=first,
        second=linalg.symmetrise(products - outer),
    )
    return Expectation(moments=moments, log_likelihood=log_likelihood)


def wide_amplification(
    mixture: GaussianMixture, offsets: Means, u: Values | None = None
) -> Scalar:
    """As [`gmmx_eqx.amplification`][], of this kernel: the geometric mean of that about
    the source's pivot and that about the kernel's own pivots.

    **Arguments:**

    - `offsets`: of the mixture's means from the kernel's pivots.
    """
    far = amplification(mixture, mixture.means, u)
    near = amplification(mixture, offsets, u)
    return jnp.sqrt(far) * jnp.sqrt(near)


def wide_is_accurate(mixture: GaussianMixture, offsets: Means, u: Values) -> Flag:
    """Whether errors are small, or residuals would not have much smaller ones: what
    strong correlation loses, no pivot gives back."""
    lost = wide_amplification(mixture, offsets, u)
    least = amplification(mixture, jnp.zeros_like(offsets), u)
    return is_accurate(lost / _MARGIN) | (lost <= 2 * least)
