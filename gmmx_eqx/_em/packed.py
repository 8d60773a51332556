"""The E-step by two matrix products per chunk: fast where components are not very far
apart for their widths."""

import jax

from .._core import linalg
from .._core.batching import rows_product
from .._covariances import AbstractWhitening
from .._mixture import GaussianMixture
from .._sources import AbstractSource, Chunk
from .packings import AbstractPacking, moments, parameters
from .residual import Expectation, responsibilities


def expect_packed(
    mixture: GaussianMixture,
    source: AbstractSource,
    packing: AbstractPacking,
    whitening: AbstractWhitening | None = None,
) -> Expectation:
    """The E-step, with moments about the source's pivot.

    Their rounding error relative to a covariance is about eps times
    [`gmmx_eqx.amplification`][] of the mixture.

    **Arguments:**

    - `mixture`: the current estimate, about the source's own pivot.
    - `source`: the data.
    - `packing`: the rule of the mixture's family.
    - `whitening`: its factorised covariances, if they are at hand.
    """
    if whitening is None:
        whitening = mixture.covariances.whitening(mixture.n_features)
    theta = parameters(packing, mixture, whitening)

    def of_chunk(chunk: Chunk):
        # Without the barrier XLA may compute the features again inside each product.
        features = jax.lax.optimization_barrier(packing.features(chunk.columns))
        joint = linalg.matmul(theta, features) + packing.shared(
            whitening, chunk.columns
        )
        resp, log_likelihood = responsibilities(joint, chunk.weights)
        # This order is up to 1.7 times faster on a CPU than its transpose.
        return rows_product(features, resp), log_likelihood

    statistics, log_likelihood = source.reduce(of_chunk)
    return Expectation(
        moments=moments(packing, statistics, mixture.n_features),
        log_likelihood=log_likelihood,
    )
