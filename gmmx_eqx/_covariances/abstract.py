import abc
from typing import Any, ClassVar, TYPE_CHECKING

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._core import linalg
from .._core.aliases import (
    Means,
    PerFeature,
    PerSample,
    Residuals,
    SampleLabels,
    Samples,
    ScalarLike,
    SquareValues,
    Statistic,
    Values,
    Weights,
)
from .._core.axes import as_columns, Axis
from .._core.pickling import Pickled
from .._moments import Moments
from . import views
from .parts import moments_about
from .whitening import AbstractWhitening


if TYPE_CHECKING:
    from typing import ClassVar as AbstractClassVar  # pyright #4965
else:
    from equinox import AbstractClassVar


class AbstractCovariances(Pickled, eqx.Module):
    r"""Covariance family: the interface, and what follows from it.

    The fields are arrays with the axes `(batch=1, components, features,
    features_covar)`, each annotated so. A size that is always one is written in the
    annotation: `components=1` in a field that serves all components, `features=1` in
    one that serves all features. Numbers that are no parameters are static fields.

    Register it with [`gmmx_eqx.extend.register_covariance`][] to use it by name.

    **Attributes:**

    - `type`: the name under which the family is registered.
    - `compared`: whether [`gmmx_eqx.select`][] tries the family if it is not told which
        to try.
    - `shares_parts`: whether components share a part of their covariances that is no
        field, such as a shape.
    """

    type: AbstractClassVar[str]
    compared: ClassVar[bool] = True
    shares_parts: ClassVar[bool] = False

    @classmethod
    @abc.abstractmethod
    def create(
        cls, n_components: int, n_features: int, device: Any = None
    ) -> "AbstractCovariances":
        """Identity matrices, or what is nearest to them in the family, on `device`."""

    @abc.abstractmethod
    def whitening(self, n_features: int, tolerant: bool = False) -> AbstractWhitening:
        r"""Factorised covariances. NaN where $Σ$ is not positive definite.

        **Arguments:**

        - `n_features`: the number of features, which the means know.
        - `tolerant`: whether to factorise a matrix that rounding has made singular, as
            densities do and EM does not.
        """

    @property
    @abc.abstractmethod
    def variances(self) -> Values:
        """Diagonal of each matrix, on the features axis; of size one there if all
        features have the same variance."""

    @abc.abstractmethod
    def dense(self, n_features: int) -> SquareValues:
        """Square matrices, one for each component or one for all."""

    @abc.abstractmethod
    def colour(self, noise: Samples, labels: SampleLabels) -> Samples:
        """Standard normal `noise`, given the covariance of the component in `labels`.

        Must not hold one matrix per sample.
        """

    @property
    @abc.abstractmethod
    def n_parameters(self) -> int:
        """Number of free parameters."""

    @abc.abstractmethod
    def statistic(self, residuals: Residuals, resp: PerSample) -> Statistic:
        r"""Sum over samples that the M-step needs: $\sum_n r_{nk} (x_n - p)(x_n -
        p)^T$, or as much of it as the family uses. An array, or a PyTree of arrays, of
        four axes.

        It may depend on the covariances before the M-step, as that of a low-rank
        family does. Otherwise they only say which family it is.

        **Arguments:**

        - `residuals`: $x_n - p$, shape `(batch, 1 or components, features, 1)`.
        - `resp`: $r_{nk}$, shape `(batch, components, 1, 1)`.
        """

    @abc.abstractmethod
    def estimate(
        self, moments: Moments, reg_covar: PerFeature
    ) -> "AbstractCovariances":
        """M-step: the most likely covariances of the family, or at least more likely
        ones than these, plus `reg_covar` on the diagonal.

        Must be finite for a component whose count is zero.
        """

    def estimate_first(
        self, moments: Moments, reg_covar: PerFeature
    ) -> "AbstractCovariances":
        """M-step of a start: the same, but not from these covariances, which only say
        the family. A family whose `estimate` improves what was before repeats it."""
        return self.estimate(moments, reg_covar)

    def moments(self, residuals: Residuals, resp: PerSample) -> Moments:
        """Weighted sums over samples that the M-step needs.

        **Arguments:** as for `statistic`.
        """
        # A product: a CPU takes ten times as long for a sum over samples.
        transposed = linalg.transpose(as_columns(resp))
        first = linalg.matmul(as_columns(residuals), transposed)
        return Moments(
            count=jnp.sum(resp, axis=Axis.batch, keepdims=True),
            first=first,
            second=self.statistic(residuals, resp),
        )

    @classmethod
    def update_parameters(
        cls,
        x: Samples,
        means: Means,
        resp: PerSample,
        nk: Weights,
        reg_covar: ScalarLike | PerFeature,
    ) -> "AbstractCovariances":
        """M-step about given means.

        **Arguments:**

        - `x`: the samples, shape `(batch, 1, features, 1)`.
        - `means`: the means, shape `(1, components, features, 1)`.
        - `resp`: the responsibilities, shape `(batch, components, 1, 1)`.
        - `nk`: their sums over samples, shape `(1, components, 1, 1)`.
        - `reg_covar`: added to the diagonal, in squared data units: a number or one
            per feature, shape `(1, 1, features, 1)`.
        """
        _, n_components, n_features, _ = means.shape
        template = cls.create(n_components, n_features)
        template = jax.tree.map(lambda leaf: leaf.astype(x.dtype), template)
        columns, rows = as_columns(x)[0, 0], as_columns(resp)[0, :, 0]
        second = moments_about(template, columns, means, rows).second
        moments = Moments(count=nk, first=jnp.zeros_like(means), second=second)
        shape = (1, 1, n_features, 1)
        ridge = jnp.broadcast_to(jnp.asarray(reg_covar, dtype=x.dtype), shape)
        return template.estimate_first(moments, ridge)

    def log_prob(self, x: Samples, means: Means) -> PerSample:
        r"""Squared Mahalanobis distance $(x - μ_k)^T Σ_k^{-1} (x - μ_k)$.

        Not a log-probability, in spite of its name, which is gmmx's.
        """
        whitening = self.whitening(x.shape[Axis.features], tolerant=True)
        return as_columns(whitening.squared_distance(x, means))

    @property
    def precisions_cholesky(self) -> Values:
        r"""$U$ with $Σ^{-1} = U U^T$: upper triangular matrices, or only their diagonal
        (on the features axis) where the family has no more. NaN where $Σ$ is not
        positive definite."""
        return self.whitening(self.n_features).factor

    @property
    def log_det_cholesky(self) -> Weights:
        r"""$\log |U| = -\frac{1}{2} \log |Σ|$, in nats; of one feature where the
        features axis is shared."""
        return -0.5 * self.whitening(self.n_features, tolerant=True).log_det

    @property
    def n_components(self) -> int:
        """Size of the components axis: 1 where one covariance serves all."""
        return self._largest(Axis.components)

    @property
    def n_features(self) -> int:
        """Size of the features axis: 1 where all features have the same variance."""
        return self._largest(Axis.features)

    def _largest(self, axis: Axis) -> int:
        return max(leaf.shape[axis] for leaf in jax.tree.leaves(self))

    @property
    def values_squeezed(self) -> Float[Array, "..."]:
        """Values without size-one axes, as `from_squeezed` takes them: a JAX array,
        also inside `jit`. Square matrices for a family without `values`."""
        values = views.as_values(self)
        return jnp.squeeze(values, axis=views.squeezed_axes(type(self)))

    @property
    def values_numpy(self) -> np.ndarray:
        """The same as `values_squeezed`, as NumPy array."""
        values = np.asarray(views.as_values(self))
        return np.squeeze(values, axis=views.squeezed_axes(type(self)))

    @property
    def precisions_cholesky_numpy(self) -> np.ndarray:
        """`precisions_cholesky` as NumPy array, in scikit-learn's shapes."""
        factor = np.asarray(self.precisions_cholesky)
        return np.squeeze(factor, axis=views.squeezed_axes(type(self)))
