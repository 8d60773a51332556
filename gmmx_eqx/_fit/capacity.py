"""Whether data can carry the parameters of a mixture."""

import functools as ft

import equinox as eqx

from .._covariances import Family


def n_parameters(
    family: Family, n_components: int, n_features: int, equal_weights: bool
) -> int:
    """The number of free parameters of a mixture, which needs no arrays."""
    of_weights = 0 if equal_weights else n_components - 1
    own = of_weights + n_components * n_features
    return own + _of_covariances(family, n_components, n_features)


def carries(
    n_samples: int,
    family: Family,
    n_components: int,
    n_features: int,
    equal_weights: bool,
) -> bool:
    """Whether so many samples have as many numbers as a mixture has free parameters,
    and determine its covariances.

    It takes `n_features` residuals to make a matrix regular, which has
    `(n_features + 1) / 2` parameters for each of them. Residuals are fewer than samples
    by one for each mean. With fewer still, the likelihood of a full or tied family has
    no bound, and what it comes to is up to the ridge.
    """
    size = n_parameters(family, n_components, n_features, equal_weights)
    if size > n_samples * n_features:
        return False
    n_determined = (n_samples - n_components) * (n_features + 1) / 2
    return _of_covariances(family, n_components, n_features) <= n_determined


@ft.cache
def _of_covariances(family: Family, n_components: int, n_features: int) -> int:
    like = eqx.filter_eval_shape(family.create, n_components, n_features)
    return like.n_parameters
