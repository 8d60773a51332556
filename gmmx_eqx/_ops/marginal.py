from .._core.likes import FeaturesLike
from .._mixture import AbstractGaussianMixture, check_mixture, GaussianMixture
from .affine import push_mixture
from .features import as_features


def marginal(
    mixture: AbstractGaussianMixture, features: FeaturesLike
) -> GaussianMixture:
    """The distribution of some of the features, in the given order. The family is kept.

    **Arguments:**

    - `features`: an integer, a sequence of integers, a slice or a
        [`gmmx_eqx.Features`][].

    **Raises:**

    `ValueError` if a feature does not exist or is named twice.

    **Example:**

    ```python
    mixture = gx.GaussianMixture.create(n_components=2, n_features=3)
    print(gx.marginal(mixture, [2, 0]).n_features)
    ```

    ```text
    2
    ```
    """
    check_mixture(mixture)
    return push_mixture(mixture, as_features(features, mixture.n_features))
