import jax.numpy as jnp

from .._core.likes import FeaturesLike, VectorLike
from .._core.programs import program
from .._covariances import TiedSphericalCovariances
from .._mixture import AbstractGaussianMixture, check_mixture, GaussianMixture
from .arguments import as_vector, common_dtype
from .families import is_independent
from .features import as_features, Features
from .gaussian import push
from .maps import Observations
from .posterior import posterior


def condition(
    mixture: AbstractGaussianMixture, features: FeaturesLike, values: VectorLike
) -> GaussianMixture:
    """The distribution of the other features, given the values of some.

    The family is kept. The density of the values themselves is that of
    [`gmmx_eqx.marginal`][].

    **Arguments:**

    - `features`: an integer, a sequence of integers, a slice or a
        [`gmmx_eqx.Features`][].
    - `values`: of these features, in the given order, shape `(n_given,)`; a number will
        do for one. For many, `jax.vmap`.

    **Raises:**

    `ValueError` if a feature does not exist or is named twice, if none is left, or if
    there are not as many values.

    **Example:**

    ```python
    mixture = gx.GaussianMixture.from_squeezed(
        [[0.0, 0.0]], [[[1.0, 0.5], [0.5, 1.0]]], [1.0]
    )
    print(gx.condition(mixture, 1, 2.0))
    ```

    ```text
    GaussianMixture: 1 component, 1 feature, full, float32
    component  weight   mean      sd
            0   1.000  1.000  0.8660
    ```
    """
    check_mixture(mixture)
    given = as_features(features, mixture.n_features)
    others = given.others(mixture.n_features)
    y = as_vector(values, "values", mixture, len(given.indices))
    return _condition(mixture, given, others, y)


@program()
def _condition(
    mixture: AbstractGaussianMixture, given: Features, others: Features, y: Observations
) -> GaussianMixture:
    mixture, _, y = common_dtype(mixture, given, y)
    prior = mixture.covariances
    noise = TiedSphericalCovariances(jnp.zeros((1, 1, 1, 1), y.dtype))
    new = posterior(mixture.weights, mixture.means, prior, given, noise, y)
    # Independent features tell nothing of each other, and the family stays as it is.
    covariances = prior if is_independent(prior) else new.covariances
    shape = (mixture.n_components, mixture.n_features)
    return GaussianMixture(
        new.weights, others(new.means), push(covariances, others, *shape)
    )
