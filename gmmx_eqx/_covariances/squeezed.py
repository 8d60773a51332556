"""Covariances as users hand them in, without the axes of size one; what cannot be a
covariance is refused here."""

import functools as ft
from typing import Any

import jax.numpy as jnp
import numpy as np

from .._core import inputs
from .._core.axes import Axis
from . import views


def as_family(family: Any, values: Any, name: str) -> Any:
    """An instance of the family, or a `ValueError`."""
    squeezed_axes = views.squeezed_axes(family)
    values = inputs.as_float(values, name)
    axes = [axis.name for axis in Axis if axis not in squeezed_axes]
    if values.ndim != len(axes):
        raise ValueError(
            f"`{name}` of type {family.type} must have the axes ({', '.join(axes)}); "
            f"got shape {values.shape}."
        )
    if Axis.features_covar not in squeezed_axes and (
        values.shape[-1] != values.shape[-2]
    ):
        raise ValueError(
            f"`{name}` must hold square matrices; got shape {values.shape}."
        )
    inputs.check_finite(values, name)
    covariances = family(values=jnp.expand_dims(values, squeezed_axes))
    dense = inputs.concrete(covariances.dense(covariances.n_features))
    if dense is not None:
        _check_positive_definite(dense, name)
        check_form(covariances, dense, name)
    return covariances


@ft.singledispatch
def check_form(covariances: Any, dense: np.ndarray, name: str) -> None:
    """Raises a `ValueError` that says what is wrong unless matrices are of the family,
    where not all are that fit into its arrays."""
    del covariances, dense, name


def from_deviations(family: Any, values: Any, name: str) -> Any:
    """The same from standard deviations, of a family of variances."""
    deviations = inputs.as_float(values, name)
    numbers = inputs.concrete(deviations)
    if numbers is not None and not np.all(numbers > 0):
        raise ValueError(
            f"`{name}` must hold standard deviations, which are positive; the smallest "
            f"is {np.min(numbers):.3g}."
        )
    return as_family(family, deviations**2, f"{name}**2")


def _check_positive_definite(dense: np.ndarray, name: str) -> None:
    """Raises a `ValueError` that says what is wrong with which matrix, unless all are
    symmetric and positive definite."""
    dense = dense.reshape(-1, *dense.shape[-2:])
    of = lambda k: f" of component {int(k)}" if len(dense) > 1 else ""
    variances = np.diagonal(dense, axis1=-2, axis2=-1)
    if np.any(variances <= 0):
        k, i = np.argwhere(variances <= 0)[0]
        feature = f" of feature {i}" if variances.shape[1] > 1 else ""
        raise ValueError(
            f"`{name}` must be positive definite: the variance{feature}{of(k)} is "
            f"{variances[k, i]:.3g}."
        )
    # Relative to the diagonal, so that units do not matter. In float64: in float32 the
    # rounding of an eigenvalue would be as large as the smallest that it can tell.
    wide = dense.astype(np.float64)
    scale = np.sqrt(variances.astype(np.float64))[..., None]
    with np.errstate(all="ignore"):
        correlation = wide / scale / np.swapaxes(scale, -1, -2)
    # What overflows is far from positive definite all the same.
    correlation = np.clip(correlation, -1e6, 1e6)
    asymmetry = np.abs(correlation - np.swapaxes(correlation, -1, -2))
    if np.max(asymmetry) > 100 * np.finfo(dense.dtype).eps:
        k, i, j = np.unravel_index(np.argmax(asymmetry), asymmetry.shape)
        raise ValueError(
            f"`{name}` must be symmetric: the elements ({i}, {j}) and ({j}, {i})"
            f"{of(k)} are {dense[k, i, j]:.6g} and {dense[k, j, i]:.6g}. Symmetrise "
            "with `(c + c.swapaxes(-1, -2)) / 2`."
        )
    eigenvalues = np.linalg.eigvalsh(correlation)[:, 0]
    k = np.argmin(eigenvalues)
    if not eigenvalues[k] > 0:
        raise ValueError(
            f"`{name}` must be positive definite: the correlations{of(k)} have an "
            f"eigenvalue of {eigenvalues[k]:.3g}. Add a multiple of the identity."
        )
    if not _can_be_factorised(dense):
        for k in range(len(dense)):
            if _can_be_factorised(dense[k]):
                continue
            raise ValueError(
                f"`{name}` must be positive definite to the precision of "
                f"{dense.dtype.name}: the correlations{of(k)} have an eigenvalue of "
                f"{eigenvalues[k]:.3g}, which rounding makes zero. Add a multiple of "
                "the identity, use float64, or give Cholesky factors to "
                "`from_cholesky`."
            )


def _can_be_factorised(matrices: np.ndarray) -> bool:
    """Whether Cholesky's factorisation in the matrices' own type goes through."""
    try:
        np.linalg.cholesky(matrices)
    except np.linalg.LinAlgError:
        return False
    return True
