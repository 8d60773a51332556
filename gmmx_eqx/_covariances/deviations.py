"""Standard deviations on the host, where no program may be compiled."""

import functools as ft

import numpy as np

from .._core.axes import Axis
from .abstract import AbstractCovariances
from .factored import AbstractCholesky
from .low_rank import AbstractLowRank
from .values import AbstractValues


@ft.singledispatch
def deviations_numpy(covariances: AbstractCovariances) -> np.ndarray | None:
    """The standard deviation of every feature, on the features axis, of one mixture or
    of many; of size one there if all features have the same. `None` if the family has
    no rule."""
    del covariances
    return None


@deviations_numpy.register(AbstractValues)
def _(covariances):
    values = np.asarray(covariances.values)
    if values.shape[Axis.features_covar] > 1:
        axes = {"axis1": int(Axis.features), "axis2": int(Axis.features_covar)}
        values = np.diagonal(values, **axes)[..., None]
    return _root(values)


@deviations_numpy.register(AbstractCholesky)
def _(covariances):
    return _root(_squares(covariances.scale_tril))


@deviations_numpy.register(AbstractLowRank)
def _(covariances):
    return _root(_squares(covariances.factors) + np.asarray(covariances.noise))


def _squares(factors):
    wide = np.asarray(factors).astype(np.float64)
    return np.sum(wide**2, axis=Axis.features_covar, keepdims=True)


def _root(variances):
    # In float64, in which bfloat16 has a square root, too. NaN where there is none.
    with np.errstate(invalid="ignore"):
        return np.sqrt(variances.astype(np.float64))
