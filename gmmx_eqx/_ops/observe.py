from .._core.aliases import Scalar
from .._core.likes import MapLike, NoiseLike, VectorLike
from .._core.programs import program
from .._covariances import AbstractCovariances
from .._mixture import AbstractGaussianMixture, check_mixture, GaussianMixture
from .arguments import as_map, as_noise, as_vector, common_dtype
from .maps import AbstractMap, Observations
from .posterior import posterior


def observe(
    mixture: AbstractGaussianMixture, H: MapLike, R: NoiseLike, y: VectorLike
) -> tuple[GaussianMixture, Scalar]:
    r"""Bayes' rule for an observation $y = H x + ε$, where $x$ is distributed as the
    mixture and $ε \sim N(0, R)$.

    **Arguments:**

    - `mixture`: the prior.
    - `H`: shape `(outputs, features)`; `(features,)` for a diagonal matrix, which may
        not be made of zeros and ones, `()` for a multiple of the identity;
        [`gmmx_eqx.Features`][] to see some of the features; or a
        `lineax.AbstractLinearOperator`, of which only products with vectors are
        computed.
    - `R`: the covariance of the noise, in squared units of `y`: shape
        `(outputs, outputs)`, `(outputs,)` for a diagonal matrix, `()` for a multiple of
        the identity. It may be zero where $H Σ_k H^T$ is positive definite.
    - `y`: what was seen, shape `(outputs,)`. For many, `jax.vmap`.

    **Returns:**

    The posterior mixture and the log-evidence $\log p(y)$ in nats. Independent features
    stay so (`diag`, `spherical`) where `H` and `R` have no more than a diagonal; tied
    covariances stay tied.

    **Raises:**

    `ValueError` if an argument cannot be right. Where $H Σ_k H^T + R$ is not positive
    definite, the result is NaN.

    **Example:**

    ```python
    prior = gx.GaussianMixture.create(n_components=1, n_features=2)
    posterior, log_evidence = gx.observe(prior, [[1.0, 1.0]], 0.5, [3.0])
    print(gx.mean(posterior).round(3))
    ```

    ```text
    [1.2 1.2]
    ```

    ??? cite "Reference"

        Alspach, Sorenson (1972), Nonlinear Bayesian Estimation Using Gaussian Sum
        Approximations. IEEE Transactions on Automatic Control 17(4), 439-448.
    """
    check_mixture(mixture)
    operator = as_map(H, "H", mixture)
    n_outputs = operator.n_outputs(mixture.n_features)
    noise = as_noise(R, "R", mixture, n_outputs)
    return _observe(mixture, operator, noise, as_vector(y, "y", mixture, n_outputs))


@program()
def _observe(
    mixture: AbstractGaussianMixture,
    operator: AbstractMap,
    noise: AbstractCovariances,
    y: Observations,
) -> tuple[GaussianMixture, Scalar]:
    mixture, operator, noise, y = common_dtype(mixture, operator, noise, y)
    new = posterior(
        mixture.weights, mixture.means, mixture.covariances, operator, noise, y
    )
    return (
        GaussianMixture(new.weights, new.means, new.covariances),
        new.log_evidence[0, 0, 0, 0],
    )
