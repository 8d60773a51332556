"""What families have in common whose components share volume, shape or orientation."""

import abc
from typing import Any, ClassVar, TYPE_CHECKING, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._core import linalg
from .._core.aliases import (
    FullValues,
    PerFeature,
    PerSample,
    Residuals,
    Values,
    Weights,
)
from .._core.axes import Axis
from .._core.cholesky import inverse_cholesky
from .._core.likes import CovariancesLike
from .._moments import Moments
from . import matrices, squeezed
from .abstract import AbstractCovariances
from .factored import as_scale_tril
from .independent import AbstractIndependent
from .values import AbstractValues


if TYPE_CHECKING:
    from typing import ClassVar as AbstractClassVar  # pyright #4965
else:
    from equinox import AbstractClassVar


_Family = TypeVar("_Family", bound="AbstractParsimonious")

# How often parts are improved in turn, in an M-step without covariances before it, and
# where covariances that are almost of the family become so.
_N_FIRST, _N_NEAREST = 20, 2


class AbstractParsimonious(AbstractValues):
    r"""Family of covariances $Σ_k = λ_k D_k A_k D_k^T$, with volume $λ_k =
    |Σ_k|^{1/d}$, shape $A_k$, which is diagonal with determinant one, and orientation
    $D_k$, of which components share some.

    Three letters say which, in this order: `E` is equal for all components, `V` is
    variable, and `I` is the identity.

    Where the most likely values have no closed form, `estimate` improves one part after
    the other, once, beginning with the covariances before it. So the likelihood never
    falls, and EM ends where it would with the most likely ones. `estimate_first`
    repeats that until nothing but rounding is left.

    `reg_covar` is added to the scatter matrix of each component, so that covariances
    keep their form.

    **Attributes:**

    - `values`: shape `(1, components, features, features or 1)`, in squared data units.

    ??? cite "Reference"

        Celeux, Govaert (1995), Gaussian Parsimonious Clustering Models. Pattern
        Recognition 28(5), 781-793.
    """

    type: AbstractClassVar[str]
    compared: ClassVar[bool] = False
    shares_parts: ClassVar[bool] = True
    # Whether the most likely values follow from the scatter matrices alone.
    _has_closed_form: ClassVar[bool] = False

    @abc.abstractmethod
    def _improved(self, scatter: Values, share: Weights) -> Values:
        """Values of the family that are more likely than these, unless these are the
        most likely.

        **Arguments:**

        - `scatter`: $S_k$, scatter matrices of one sample, or their diagonals.
        - `share`: of each component in all samples; may be zero.
        """

    def _first(self, scatter: Values, share: Weights) -> Values:
        """Values to begin with, where there are none: any that `_improved` takes."""
        del share
        variances = mean_square(scatter) * jnp.ones_like(scatter[..., :1])
        is_diagonal = scatter.shape[Axis.features_covar] == 1
        return variances if is_diagonal else linalg.diagonal(variances)

    def estimate(self: _Family, moments: Moments, reg_covar: PerFeature) -> _Family:
        scatter, share = self._scatter(moments, reg_covar)
        return self._with(self._improved(scatter, share))

    def estimate_first(
        self: _Family, moments: Moments, reg_covar: PerFeature
    ) -> _Family:
        return self._most_likely(*self._scatter(moments, reg_covar))

    def nearest(self: _Family, weights: Weights) -> _Family:
        """Covariances of the family for these, which need not be of it: the most likely
        ones, but for what a few turns leave, of samples with these covariances."""
        return self._most_likely(self.values, weights, _N_NEAREST)

    def _most_likely(
        self: _Family, scatter: Values, share: Weights, n_cycles: int = _N_FIRST
    ) -> _Family:
        if self._has_closed_form:
            return self._with(self._improved(scatter, share))
        first = self._with(self._first(scatter, share))
        improve = lambda family, _: (self._with(family._improved(scatter, share)), None)
        return jax.lax.scan(improve, first, length=n_cycles)[0]

    def _with(self: _Family, values: Values) -> _Family:
        return type(self)(values=values)  # pyright: ignore[reportCallIssue]  # the field is a subclass's

    def _scatter(
        self, moments: Moments, reg_covar: PerFeature
    ) -> tuple[Values, Weights]:
        """Scatter matrices of one sample, or their diagonals, and the shares."""
        occupied = moments.count > 0
        shift = moments.shift
        if self.values.shape[Axis.features_covar] == 1:
            between, ridge = shift**2, reg_covar
        else:
            between = shift * linalg.transpose(shift)
            ridge = linalg.diagonal(reg_covar)
        scatter = linalg.safe_divide(moments.second, moments.count) - between + ridge
        # What is not there shall not make what is shared NaN.
        scatter = jnp.where(occupied, scatter, self.values)
        if self.values.shape[Axis.features_covar] > 1:
            scatter = linalg.symmetrise(scatter)
        return scatter, linalg.safe_divide(moments.count, moments.total)

    @property
    def n_parameters(self) -> int:
        return n_parameters(self.type, self.n_components, self.n_features)


class AbstractParsimoniousDiagonals(AbstractParsimonious, AbstractIndependent):
    """Those whose orientation is the identity: features are independent within a
    component."""


class AbstractParsimoniousMatrices(AbstractParsimonious, matrices.AbstractMatrices):
    """Those that hold square matrices."""

    @classmethod
    def create(
        cls, n_components: int, n_features: int, device: Any = None
    ) -> "AbstractParsimoniousMatrices":
        shape = (1, n_components, n_features, n_features)
        return cls(values=matrices.identities(shape, device))  # pyright: ignore[reportCallIssue]  # as above

    @classmethod
    def from_cholesky(cls, scale_tril: CovariancesLike) -> AbstractCovariances:
        lower = as_scale_tril(cls, scale_tril)
        product = linalg.symmetrise(linalg.matmul(lower, linalg.transpose(lower)))
        return squeezed.as_family(cls, product[0], "scale_tril scale_tril^T")

    def statistic(self, residuals: Residuals, resp: PerSample) -> FullValues:
        return matrices.scatter(residuals, resp)


def n_parameters(model: str, n_components: int, n_features: int) -> int:
    """Number of free parameters of the covariances, by the three letters of a model."""
    times = {"E": 1, "V": n_components, "I": 0}
    sizes = (1, n_features - 1, n_features * (n_features - 1) // 2)
    return sum(times[letter] * size for letter, size in zip(model, sizes, strict=True))


def volume(values: Values) -> Float[Array, "1 components 1 1"]:
    """$|Σ|^{1/d}$ of matrices, or of variances."""
    if values.shape[Axis.features_covar] == 1:
        logarithms = jnp.log(values)
    else:
        factor = inverse_cholesky(values)
        logarithms = -2 * jnp.log(linalg.diagonal_of(factor))
    return jnp.exp(jnp.mean(logarithms, axis=Axis.features, keepdims=True))


def pooled(values: Values, share: Weights) -> Values:
    """The mean over components."""
    return jnp.sum(share * values, axis=Axis.components, keepdims=True)


def mean_square(values: Values) -> Float[Array, "1 components 1 1"]:
    """$\\operatorname{tr}(Σ) / d$ of matrices, or of variances."""
    if values.shape[Axis.features_covar] > 1:
        values = linalg.diagonal_of(values)
    return jnp.mean(values, axis=Axis.features, keepdims=True)


def normalised(values: Values) -> tuple[Float[Array, "1 _ 1 1"], Values]:
    """Volumes, and what is left of volume one."""
    size = volume(values)
    return size, values / size
