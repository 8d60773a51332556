"""Whether given matrices share what those of a parsimonious family share."""

import numpy as np

from .common_axes import AbstractCommonAxes
from .oriented import VEECovariances
from .parsimonious import AbstractParsimonious
from .squeezed import check_form


# What rounding to a few digits leaves passes.
_LEAST = 1e-4


@check_form.register(AbstractParsimonious)
def _(covariances, dense, name):
    tolerance = max(_LEAST, float(np.finfo(dense.dtype).eps) ** 0.5)
    dense = dense.reshape(-1, *dense.shape[-2:]).astype(np.float64)
    variances = np.linalg.eigvalsh(dense)
    if covariances.type.endswith("I"):
        variances = np.diagonal(dense, axis1=-2, axis2=-1)
    volumes = np.exp(np.mean(np.log(variances), axis=1))
    volume, shape, _ = covariances.type
    if volume == "E":
        _check_equal(volumes[:, None], tolerance, covariances, name, "volume |Σ|^(1/d)")
    shapes = variances / volumes[:, None]
    if shape == "E":
        what = "shape, the eigenvalues of Σ / |Σ|^(1/d)"
        if covariances.type.endswith("I"):
            what = "shape, the variances over |Σ|^(1/d)"
        _check_equal(shapes, tolerance, covariances, name, what)
    if isinstance(covariances, AbstractCommonAxes | VEECovariances):
        _check_orientation(covariances, dense, tolerance, name)


def _check_equal(numbers, tolerance, covariances, name, what):
    off = np.abs(numbers / numbers[:1] - 1)
    k, i = np.unravel_index(np.argmax(off), off.shape)
    if off[k, i] > tolerance:
        raise ValueError(
            f"`{name}` of type {covariances.type} must have the same {what}, for all "
            f"components: {numbers[k, i]:.6g} of component {k} and {numbers[0, i]:.6g} "
            f"of component 0 differ by {100 * off[k, i]:.3g} %. {_hint(covariances)}"
        )


def _check_orientation(covariances, dense, tolerance, name):
    k, left = min((_worst(dense, seed) for seed in range(4)), key=lambda pair: pair[1])
    if left > tolerance:
        raise ValueError(
            f"`{name}` of type {covariances.type} must have the same orientation, the "
            "axes in which they are diagonal, for all components: in common axes, "
            f"component {k} has a correlation of {left:.3g}. {_hint(covariances)}"
        )


def _worst(dense, seed):
    """The component with the largest correlation, and that, in the axes of a sum with
    random shares: those of all of them, if all have the same."""
    shares = np.random.default_rng(seed).uniform(0.5, 1, len(dense))
    sizes = np.trace(dense, axis1=-2, axis2=-1)
    axes = np.linalg.eigh(np.tensordot(shares / sizes, dense, 1))[1]
    turned = axes.T @ dense @ axes
    widths = np.sqrt(np.diagonal(turned, axis1=-2, axis2=-1))
    left = np.abs(turned / widths[:, None] / widths[..., None] - np.eye(len(axes)))
    k = np.argmax(np.max(left, axis=(1, 2)))
    return int(k), float(np.max(left[k]))


def _hint(covariances):
    family = "diag" if covariances.type.endswith("I") else "full"
    return f'Any covariances can be held by `covariance_type="{family}"`.'
