"""The E-step of full covariances with the matrices of all components as one: slower
than packed features, and more accurate."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from .._core import linalg, sums
from .._core.aliases import Means, PerComponentFlag, Rows, Weights
from .._covariances import AbstractWhitening, FullCovariances
from .._mixture import GaussianMixture
from .._moments import Moments
from .._sources import AbstractSource, Chunk, reduce_parts
from .guard import amplifications, cannot_be_less, is_accurate
from .residual import Expectation, part_size, responsibilities


# Errors are about a tenth of eps times the amplification where it is large; those of
# packed features are several times as large as eps times theirs.
_MARGIN = 8


def is_full(mixture: GaussianMixture) -> bool:
    return isinstance(mixture.covariances, FullCovariances)


def is_worth_trying(mixture: GaussianMixture) -> bool:
    """Whether to try this kernel where packed features are not accurate, which is often
    so in float32 and many dimensions. It then takes about twice as long as those, and
    residuals several times."""
    d = mixture.n_features
    often_wanted = mixture.means.dtype == jnp.float32 and d >= 32
    return is_full(mixture) and often_wanted and mixture.n_components <= 2 * d


class Wide(eqx.Module):
    r"""Components of full covariances, with the rows of all their matrices as one.

    Whitened residuals are $U_k^T x - U_k^T μ_k$, and second moments $\sum_n r_{nk} (x_n
    - μ_k) x_n^T$ less what the pivots account for: one product each. Rounding errors
    grow with the distance of components, where those of packed features grow with its
    square.
    """

    rows: Float[Array, "rows features"]
    shift: Float[Array, "components features one=1"]
    constant: Float[Array, "components one=1"]
    means: Means

    @classmethod
    def of(
        cls, whitening: AbstractWhitening, means: Means, log_weights: Weights
    ) -> "Wide":
        *_, n_components, d, _ = means.shape
        transposed = linalg.transpose(whitening.factor)[0]
        constant = (log_weights - 0.5 * whitening.log_det)[0, :, 0]
        return cls(
            rows=transposed.reshape(n_components * d, d),
            shift=linalg.matmul(transposed, means[0]),
            constant=constant - 0.5 * d * linalg.LOG_2PI,
            means=means,
        )

    def joint(self, chunk: Chunk) -> Rows:
        """The joint log-densities, shape `(components, batch)`."""
        products = linalg.matmul(self.rows, chunk.columns)
        whitened = products.reshape(*self.shift.shape[:2], -1) - self.shift
        return self.constant - 0.5 * jnp.sum(whitened**2, axis=1)

    def sums(self, chunk: Chunk, resp: Rows) -> PyTree:
        """What `moments` needs of the samples. It adds over chunks."""

        def of_part(at: slice):
            columns = chunk.columns[:, at]
            weighted = resp[:, None, at] * (columns[None] - self.means[0])
            # First moments come from the same product: those from sums of x would
            # differ by a rounding error, which the pivots then multiply.
            factors = jnp.concatenate([columns, jnp.ones_like(columns[:1])])
            weighted = weighted.reshape(self.rows.shape[0], -1)
            return linalg.matmul(weighted, factors.T)

        parts = [of_part(at) for at in sums.slices(resp.shape[1])]
        return jnp.sum(resp, axis=1), sums.pairwise(parts)

    def moments(self, sums: PyTree) -> Moments:
        """About the means."""
        count, products = sums
        _, n_components, d, _ = self.means.shape
        products = products.reshape(1, n_components, d, d + 1)
        products, first = products[..., :d], products[..., d:]
        outer = first * linalg.transpose(self.means)
        return Moments(
            count=count[None, :, None, None],
            first=first,
            second=linalg.symmetrise(products - outer),
        )


def expect_wide(
    mixture: GaussianMixture, source: AbstractSource, whitening: AbstractWhitening
) -> Expectation:
    """The E-step, with moments about the mixture's means.

    **Arguments:**

    - `mixture`: the current estimate, about the source's own pivot.
    - `source`: the data.
    - `whitening`: its factorised covariances.
    """
    wide = Wide.of(whitening, mixture.means, mixture.log_weights)

    def of_chunk(chunk: Chunk):
        resp, log_likelihood = responsibilities(wide.joint(chunk), chunk.weights)
        return wide.sums(chunk, resp), log_likelihood

    size = part_size(mixture, n_copies=1)
    reduced = source.reduce(lambda chunk: reduce_parts(of_chunk, chunk, size))
    sums, log_likelihood = reduced
    return Expectation(moments=wide.moments(sums), log_likelihood=log_likelihood)


def wide_amplifications(
    mixture: GaussianMixture, offsets: Means, whitening: AbstractWhitening
) -> Weights:
    """As [`gmmx_eqx.amplification`][], of each component and of this kernel: the
    geometric mean of that about the source's pivot and that about the kernel's own
    pivots.

    **Arguments:**

    - `offsets`: of the mixture's means from the kernel's pivots.
    """
    far = amplifications(mixture, mixture.means, whitening)
    near = amplifications(mixture, offsets, whitening)
    return jnp.sqrt(far) * jnp.sqrt(near)


def wide_is_accurate(
    mixture: GaussianMixture, offsets: Means, whitening: AbstractWhitening
) -> PerComponentFlag:
    """Whether errors of each component are small, or as small as they get."""
    lost = wide_amplifications(mixture, offsets, whitening)
    return is_accurate(lost / _MARGIN) | cannot_be_less(mixture, lost, whitening)
