"""Samples of which not everything is known, as users hand them in."""

import functools as ft
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

from .._core import inputs
from .._core.hints import hinted
from .._core.known import constant
from .._core.likes import DataLike, MapsLike, NoisesLike, SampleWeightLike
from .._core.pickling import Pickled


_HINTS = {
    "x": "Use `y`.",
    "noise": "Use `R`, in squared data units.",
    "noise_covariance": "Use `R`.",
    "projection": "Use `H`.",
    "ydata": "Use `y`.",
    "ycovar": "Use `R`.",
    "Xerr": "Use `R`.",
    "weight": "Use `sample_weight`.",
}


class Observed(Pickled, eqx.Module):
    r"""Samples of which parts are missing, noisy, or seen through a matrix:
    $y_n = H_n x_n + ε_n$ with $ε_n \sim N(0, R_n)$, and $x_n$ as a mixture has it.

    It is taken wherever samples are: by fits, starts, `log_prob`, `score`, `predict`,
    [`gmmx_eqx.impute`][] and [`gmmx_eqx.denoise`][]. The mixture is that of $x$.

    **Attributes:**

    - `y`: what was seen, shape `(n_samples, n_outputs)`; NaN marks what was not.
    - `H`: shape `(n_outputs, n_features)`, or with a leading axis of samples; integers
        of shape `(n_outputs,)` are the features that were seen; `None` for all.
    - `R`: in squared units of `y`, shape `()`, `(n_outputs,)`, `(n_outputs,
        n_outputs)`, `(n_samples, n_outputs)` or `(n_samples, n_outputs, n_outputs)`;
        `None` for none.
    - `sample_weight`: shape `(n_samples,)`, or `None`.
    """

    y: Float[Array, "*sets n m"]
    H: Num[Array, "..."] | None
    R: Float[Array, "..."] | None
    sample_weight: Float[Array, "*sets n"] | None

    @hinted(_HINTS)
    def __init__(
        self,
        y: DataLike,
        H: MapsLike | None = None,
        R: NoisesLike | None = None,
        sample_weight: SampleWeightLike | None = None,
    ):
        r"""**Arguments:**

        - `y`: shape `(n_samples, n_outputs)`; NaN marks a missing value, and so does a
            mask or `NA`. A sample of which nothing was seen has a weight, and no
            influence on a fit.
        - `H`: $H$, shape `(n_outputs, n_features)`, or one for each sample, shape
            `(n_samples, n_outputs, n_features)`. Integers of shape `(n_outputs,)`, or
            a [`gmmx_eqx.Features`][], choose features. The identity if not given.
        - `R`: the covariance of the noise, in squared units of `y`: a number; one
            variance for each output, shape `(n_outputs,)`; a matrix, shape
            `(n_outputs, n_outputs)`; or the last two for each sample, with a leading
            axis. A square matrix is one for all samples, also if there are as many
            samples as outputs. Zero if not given. What it says of missing values does
            not count.
        - `sample_weight`: shape `(n_samples,)`. Zero removes a sample.

        Samples that have the same `H` and `R`, and the same values missing, are fitted
        together, at about the price of complete ones.

        **Raises:**

        `ValueError` for what cannot be right: shapes that do not match, NaN in `H` or
        `R`, infinity in `y`, noise that is not positive semidefinite, or less noise
        than a matrix `H` without full row rank needs.

        **Example:**

        ```python
        y = gx.Observed([[1.0, np.nan], [0.0, 2.0]], R=[0.1, 0.2])
        mixture = gx.GaussianMixture.create(n_components=1, n_features=2)
        print(mixture.log_prob(y).round())
        ```

        ```text
        [-1. -4.]
        ```

        ??? cite "Reference"

            Bovy, Hogg, Roweis (2011), Extreme Deconvolution: Inferring Complete
            Distribution Functions from Noisy, Heterogeneous and Incomplete
            Observations. Annals of Applied Statistics 5(2B), 1657-1677.
        """
        # A NaN is no fault here, though JAX may have been told to raise for each.
        with jax.debug_nans(False):
            array = inputs.as_float(y, "y", missing=True)
        _check_values(array)
        n_samples, n_outputs = array.shape
        self.y = array
        self.H = _as_operator(as_choice(H), n_samples, n_outputs)
        self.R = _as_noise(R, array)
        self.sample_weight = None
        if sample_weight is not None:
            some = jnp.zeros((n_samples, 1), array.dtype)
            _, self.sample_weight = inputs.as_data(some, sample_weight)
        _check_rank(self.H, self.R)

    @property
    def n_samples(self) -> int:
        """Number of samples."""
        return self.y.shape[-2]

    @property
    def n_outputs(self) -> int:
        """How many numbers are seen of a sample at most."""
        return self.y.shape[-1]

    @property
    def is_choice(self) -> bool:
        """Whether `H` is indices of features."""
        return self.H is not None and jnp.issubdtype(self.H.dtype, jnp.integer)


def observed_of(y: Any, H: Any, R: Any, sample_weight: Any) -> Observed:
    """From arrays that are known to be right; they may have leading axes of sets."""
    own = lambda o: (o.y, o.H, o.R, o.sample_weight)
    is_none = lambda leaf: leaf is None
    some = Observed(np.zeros((1, 1)))
    return eqx.tree_at(own, some, (y, H, R, sample_weight), is_leaf=is_none)


# `singledispatch`, for what chooses features and is in a package above this one.
@ft.singledispatch
def as_choice(H: Any) -> Any:
    """Numbers of an operator, from what users hand in."""
    return H


def _check_values(y: Array) -> None:
    if y.ndim != 2 or 0 in y.shape:
        hint = "For one output use `y[:, None]`." if y.ndim == 1 else ""
        raise ValueError(
            f"`y` must have shape (n_samples, n_outputs); got {y.shape}. {hint}"
        )
    numbers = inputs.concrete(y)
    if numbers is None:
        return
    if np.any(np.isinf(numbers)):
        first = tuple(np.argwhere(np.isinf(numbers))[0].tolist())
        raise ValueError(
            f"`y` must be finite, or NaN where a value is missing; it is infinite at "
            f"{first}."
        )
    if not np.all(np.isnan(numbers)):
        inputs.as_data(np.where(np.isnan(numbers), 0, numbers), name="y")


def _as_operator(H: Any, n_samples: int, n_outputs: int) -> Array | None:
    if H is None:
        return None
    given = inputs.as_numbers(H, "H")
    if given.ndim == 1 and given.dtype.kind in "iu":
        return _as_features(given, n_outputs)
    array = inputs.as_float(H, "H")
    inputs.check_finite(array, "H")
    one, each = (n_outputs,), (n_samples, n_outputs)
    if array.shape[:-1] not in (one, each) or array.shape[-1] == 0:
        transposed = array.ndim == 2 and array.shape[1] == n_outputs
        raise ValueError(
            f"`H` must have shape ({n_outputs}, n_features), or ({n_samples}, "
            f"{n_outputs}, n_features) for one matrix each, or be {n_outputs} "
            f"integers that choose features; got {array.shape}."
            + (" Transposed? Use `H.T`." if transposed else "")
        )
    return array


def _as_features(indices: Array | np.ndarray, n_outputs: int) -> Array:
    if indices.shape != (n_outputs,):
        raise ValueError(
            f"`H` chooses {indices.size} features, but `y` has {n_outputs} outputs. "
            "For one matrix row use two axes, such as `[[1.0, 0.0]]`."
        )
    numbers = inputs.concrete(indices)
    if numbers is None:
        raise ValueError("`H` of integers must be known while tracing.")
    if np.any(numbers < 0) or len(set(numbers.tolist())) < len(numbers):
        raise ValueError(
            f"`H` must choose features by different indices from zero on; got "
            f"{numbers.tolist()}."
        )
    return constant(numbers)


def _as_noise(R: Any, y: Array) -> Array | None:
    if R is None:
        return None
    array = inputs.as_float(R, "R", like=y)
    n, m = y.shape
    inputs.check_finite(array, "R")
    if array.shape not in ((), (m,), (m, m), (n, m), (n, m, m)):
        raise ValueError(
            f"`R` must be a number, or have shape ({m},), ({m}, {m}), or ({n}, {m}) or "
            f"({n}, {m}, {m}) for noise of each sample; got {array.shape}."
        )
    numbers = inputs.concrete(array)
    if numbers is not None:
        is_matrix = array.ndim == 3 or array.shape == (m, m) and array.ndim == 2
        (_check_matrices if is_matrix else _check_variances)(numbers)
    return array


def _check_variances(numbers: np.ndarray) -> None:
    if np.any(numbers < 0):
        at = np.unravel_index(np.argmin(numbers), numbers.shape)
        where = f" at {tuple(int(i) for i in at)}" if numbers.ndim else ""
        raise ValueError(
            f"`R` holds variances, which must be at least zero; got "
            f"{numbers[at]:.6g}{where}."
        )


def _check_matrices(numbers: np.ndarray) -> None:
    matrices = numbers.reshape(-1, *numbers.shape[-2:])
    eps = float(np.finfo(numbers.dtype).eps)
    size = np.max(np.abs(matrices), axis=(1, 2))
    asymmetry = np.abs(matrices - np.swapaxes(matrices, 1, 2)).max(axis=(1, 2))
    of = lambda i: "" if numbers.ndim == 2 else f" of sample {i}"
    worst = int(np.argmax(asymmetry - 100 * eps * size))
    if asymmetry[worst] > 100 * eps * size[worst]:
        raise ValueError(f"`R`{of(worst)} must be symmetric.")
    if matrices.shape[-1] == 1:
        return _check_variances(numbers)
    # Most are positive definite, which takes a tenth of the time to see.
    floor = 100 * eps * size[:, None, None] * np.eye(matrices.shape[-1])
    try:
        np.linalg.cholesky(matrices + floor + np.finfo(numbers.dtype).tiny * floor)
    except np.linalg.LinAlgError:
        lowest = np.linalg.eigvalsh(matrices)[:, 0]
        worst = int(np.argmin(lowest + 100 * eps * size))
        if lowest[worst] < -100 * eps * size[worst]:
            raise ValueError(
                f"`R`{of(worst)} must be positive semidefinite; it has the eigenvalue "
                f"{lowest[worst]:.6g}."
            ) from None


def _check_rank(H: Array | None, R: Array | None) -> None:
    """Without noise, a combination of outputs whose rows cancel has no variance."""
    if H is None or jnp.issubdtype(H.dtype, jnp.integer):
        return
    noise = None if R is None else inputs.concrete(R)
    numbers = inputs.concrete(H)
    if numbers is None or (R is not None and (noise is None or np.any(noise))):
        return
    ranks = np.linalg.matrix_rank(numbers)
    if np.any(ranks < numbers.shape[-2]):
        which = "" if numbers.ndim == 2 else f" of sample {int(np.argmin(ranks))}"
        raise ValueError(
            f"`H`{which} has rank {int(np.min(ranks))} for {numbers.shape[-2]} "
            "outputs, and there is no noise: some outputs follow from others, and "
            "their density is no number. Give `R`, or leave outputs out."
        )
