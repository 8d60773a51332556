import abc
from typing import Any, TYPE_CHECKING

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._core import linalg
from .._core.aliases import (
    Columns,
    Means,
    PerFeature,
    PerSample,
    Pivot,
    Residuals,
    Rows,
    SampleLabels,
    Samples,
    ScalarLike,
    Values,
    Weights,
)
from .._core.axes import as_columns, Axis
from .._core.likes import CovariancesLike
from .._core.pickling import Pickled
from .._moments import Moments
from . import factor, squeezed
from .parts import moments_in_parts


if TYPE_CHECKING:
    from typing import ClassVar as AbstractClassVar  # pyright #4965
else:
    from equinox import AbstractClassVar


class AbstractCovariances(Pickled, eqx.Module):
    r"""A covariance family: the interface, and what follows from it.

    A subclass has one field, `values`, with the axes
    `(batch=1, components, features, features_covar)`, in squared data units, and these
    facts of the class:

    - `type`: the name under which it is registered.
    - `squeezed_axes`: the axes that a user's array of values does not have.
    - `shared_axes`: the axes along which one value serves all components, or all
        features (which are then independent).

    Register it with [`gmmx_eqx.register_covariance`][] to use it by name.
    """

    values: eqx.AbstractVar[Values]
    type: AbstractClassVar[str]
    squeezed_axes: AbstractClassVar[tuple[Axis, ...]]
    shared_axes: AbstractClassVar[tuple[Axis, ...]]

    @classmethod
    @abc.abstractmethod
    def create(
        cls, n_components: int, n_features: int, device: Any = None
    ) -> "AbstractCovariances":
        """Identity matrices, on `device`."""

    @classmethod
    @abc.abstractmethod
    def from_precisions(cls, precisions: CovariancesLike) -> "AbstractCovariances":
        """The family with these inverse covariances, in the shape of squeezed
        values, in inverse squared data units."""

    @classmethod
    @abc.abstractmethod
    def second_moment(cls, residuals: Residuals, resp: PerSample) -> Values:
        r"""The statistic that the M-step needs: $\sum_n r_{nk} (x_n - p)(x_n - p)^T$,
        or as much of it as the family uses.

        **Arguments:**

        - `residuals`: $x_n - p$, shape `(batch, 1 or components, features, 1)`.
        - `resp`: $r_{nk}$, shape `(batch, components, 1, 1)`.
        """

    @classmethod
    @abc.abstractmethod
    def from_moments(
        cls, moments: Moments, reg_covar: PerFeature
    ) -> "AbstractCovariances":
        """The M-step: the most likely covariances of the family, plus `reg_covar` on
        the diagonal.

        Must be finite for a component whose count is zero.
        """

    @abc.abstractmethod
    def colour(self, noise: Samples, labels: SampleLabels) -> Samples:
        """Standard normal `noise`, given the covariance of the component in `labels`.

        Must not hold one matrix per sample.
        """

    @property
    @abc.abstractmethod
    def precisions_cholesky(self) -> Values:
        r"""$U$ with $Σ^{-1} = U U^T$: upper triangular matrices, or only their diagonal
        (on the features axis) where the family has no more. NaN where $Σ$ is not
        positive definite."""

    @property
    def whitener(self) -> Values | factor.Substitution:
        # A subclass that holds a factor solves equations with it.
        return self.precisions_cholesky

    @property
    @abc.abstractmethod
    def variances(self) -> Values:
        """The diagonal of each matrix, on the features axis."""

    @property
    @abc.abstractmethod
    def values_dense(self) -> Values:
        """The values as square matrices. Shared axes keep their size of one."""

    @property
    @abc.abstractmethod
    def n_parameters(self) -> int:
        """The number of free parameters."""

    @classmethod
    def from_squeezed(cls, values: CovariancesLike) -> "AbstractCovariances":
        """The family from an array without its size-one axes.

        Shapes: full `(components, features, features)`, tied `(features, features)`,
        diag `(components, features)`, spherical `(components,)`.

        **Raises:**

        `ValueError` if the shape or a value cannot be a covariance of this family.
        """
        return squeezed.as_family(cls, values, "covariances")

    @classmethod
    def from_cholesky(cls, scale_tril: CovariancesLike) -> "AbstractCovariances":
        r"""The family from lower triangular factors, $Σ = L L^T$, without size-one
        axes: full `(components, features, features)`, tied `(features, features)`; for
        diag `(components, features)` and spherical `(components,)` from standard
        deviations.

        Full and tied covariances keep the factors: densities, gradients and samples
        have the digits that a product of them would lose.

        **Raises:**

        `ValueError` if the shape or a value cannot be right; `NotImplementedError` for
        a family of your own that does not define it.
        """
        raise NotImplementedError(
            f"`{cls.__name__}` has no `from_cholesky`; use `from_squeezed`."
        )

    @classmethod
    def moments(cls, residuals: Residuals, resp: PerSample) -> Moments:
        """The weighted sums over samples that the M-step needs.

        **Arguments:** as for `second_moment`.
        """
        # A product: a CPU takes ten times as long for a sum over samples.
        transposed = linalg.transpose(as_columns(resp))
        first = linalg.matmul(as_columns(residuals), transposed)
        return Moments(
            count=jnp.sum(resp, axis=Axis.batch, keepdims=True),
            first=first,
            second=cls.second_moment(residuals, resp),
        )

    @classmethod
    def moments_about(cls, columns: Columns, pivot: Pivot, resp: Rows) -> Moments:
        """As `moments`, but of any number of samples without a loss of digits: they are
        summed in parts.

        **Arguments:**

        - `columns`: the samples, shape `(features, batch)`.
        - `pivot`: shape `(1, components or 1, features, 1)`.
        - `resp`: shape `(components, batch)`.
        """
        return moments_in_parts(cls.moments, columns, pivot, resp)

    @classmethod
    def update_parameters(
        cls,
        x: Samples,
        means: Means,
        resp: PerSample,
        nk: Weights,
        reg_covar: ScalarLike | PerFeature,
    ) -> "AbstractCovariances":
        """The M-step about given means.

        **Arguments:**

        - `x`: the samples, shape `(batch, 1, features, 1)`.
        - `means`: the means, shape `(1, components, features, 1)`.
        - `resp`: the responsibilities, shape `(batch, components, 1, 1)`.
        - `nk`: their sums over samples, shape `(1, components, 1, 1)`.
        - `reg_covar`: added to the diagonal, in squared data units: a number or one
            per feature, shape `(1, 1, features, 1)`.
        """
        columns, rows = as_columns(x)[0, 0], as_columns(resp)[0, :, 0]
        second = cls.moments_about(columns, means, rows).second
        moments = Moments(count=nk, first=jnp.zeros_like(means), second=second)
        shape = (1, 1, means.shape[Axis.features], 1)
        ridge = jnp.broadcast_to(jnp.asarray(reg_covar, dtype=x.dtype), shape)
        return cls.from_moments(moments, ridge)

    def log_prob(self, x: Samples, means: Means) -> PerSample:
        r"""The squared Mahalanobis distance $(x - μ_k)^T Σ_k^{-1} (x - μ_k)$.

        Not a log-probability, in spite of its name, which is gmmx's.
        """
        u = self.whitener
        return as_columns(factor.squared_mahalanobis(u, x, means))

    @property
    def log_det_cholesky(self) -> Weights:
        r"""$\log |U| = -\frac{1}{2} \log |Σ|$, in nats; of one feature where the
        features axis is shared."""
        return factor.log_det(self.whitener)

    @property
    def _shape(self) -> tuple[int, ...]:
        # A subclass whose values are computed knows their shape without that.
        return self.values.shape

    @property
    def n_components(self) -> int:
        """The size of the components axis: 1 where it is shared."""
        return self._shape[Axis.components]

    @property
    def n_features(self) -> int:
        """The size of the features axis: 1 where it is shared."""
        return self._shape[Axis.features]

    @property
    def values_squeezed(self) -> Float[Array, "..."]:
        """The values without size-one axes, as `from_squeezed` takes them: a JAX
        array, also inside `jit`."""
        return jnp.squeeze(self.values, axis=self.squeezed_axes)

    @property
    def values_numpy(self) -> np.ndarray:
        """The values as NumPy array, without size-one axes."""
        return np.squeeze(np.asarray(self.values), axis=self.squeezed_axes)

    @property
    def precisions_cholesky_numpy(self) -> np.ndarray:
        """`precisions_cholesky` as NumPy array, in scikit-learn's shapes."""
        return np.squeeze(np.asarray(self.precisions_cholesky), axis=self.squeezed_axes)
