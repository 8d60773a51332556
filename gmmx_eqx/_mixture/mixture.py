from typing import Any, TYPE_CHECKING

import equinox as eqx
import jax
import numpy as np

from .._core import inputs
from .._core.aliases import Means, Weights
from .._core.hints import hinted
from .._core.known import constant
from .._core.likes import (
    CovariancesLike,
    DataLike,
    KeyLike,
    LabelsLike,
    MeansLike,
    ParametersLike,
    ResponsibilitiesLike,
    SampleWeightLike,
    WeightsLike,
)
from .._covariances import (
    AbstractCovariances,
    covariance_class,
    CovarianceType,
    family_of,
    FamilyLike,
    values_class,
)
from .._initialisers import AbstractInitialiser, KMeans
from .._priors import RidgeLike
from .._sources import Observed
from . import construct
from .abstract import AbstractGaussianMixture
from .hints import ESTIMATOR, NO_ESTIMATOR, START
from .latent import as_complete
from .parts import check_parts
from .table import table_of


class GaussianMixture(AbstractGaussianMixture):
    r"""A Gaussian mixture, $p(x) = \sum_k w_k N(x | μ_k, Σ_k)$.

    A PyTree whose leaves are its parameters: it passes through `jit`, `vmap`, `grad`
    and `tree_map`. Under `vmap` it may carry leading axes; its methods are for one
    mixture, so call them inside `eqx.filter_vmap` then.

    **Attributes:**

    - `weights`: $w_k$, shape `(1, components, 1, 1)`.
    - `means`: $μ_k$, shape `(1, components, features, 1)`, in the units of the data.
    - `covariances`: $Σ_k$, a [`gmmx_eqx.extend.AbstractCovariances`][].

    **Example:**

    ```python
    mixture = gx.GaussianMixture.from_squeezed(
        [[0.0, 0.0], [5.0, 5.0]], [1.0, 4.0], [0.25, 0.75], "spherical"
    )
    print(mixture)
    ```

    ```text
    GaussianMixture: 2 components, 2 features, spherical, float32
    component  weight  mean 0  mean 1     sd
            0  0.2500   0.000   0.000  1.000
            1  0.7500   5.000   5.000  2.000
    ```
    """

    weights: Weights
    means: Means
    covariances: AbstractCovariances

    if not TYPE_CHECKING:

        def __new__(cls, *args: Any, **kwargs: Any) -> "GaussianMixture":
            is_number = len(args) == 1 and isinstance(args[0], int)
            if is_number or not ESTIMATOR.isdisjoint(kwargs):
                raise TypeError(NO_ESTIMATOR)
            return eqx.Module.__new__(cls)

    def __check_init__(self) -> None:
        check_parts(self.weights, self.means, self.covariances)

    def __repr__(self) -> str:
        """A table; without numbers, as under a trace, the tree of its leaves, which
        `eqx.tree_pformat` gives of any mixture."""
        table = table_of(self)
        return eqx.tree_pformat(self) if table is None else table.text()

    def _repr_html_(self) -> str | None:
        table = table_of(self)
        return None if table is None else table.html()

    @classmethod
    @hinted(START)
    def create(
        cls,
        n_components: int,
        n_features: int,
        covariance_type: FamilyLike = CovarianceType.full,
        device: Any = None,
    ) -> "GaussianMixture":
        """Equal weights, means at zero, identity covariances: a template.

        **Example:**

        ```python
        mixture = gx.GaussianMixture.create(3, 2, "diag")
        ```
        """
        n_components = inputs.check_count(n_components, "n_components")
        n_features = inputs.check_count(n_features, "n_features")
        family = covariance_class(covariance_type)
        weights = np.full((1, n_components, 1, 1), 1 / n_components)
        means = np.zeros((1, n_components, n_features, 1))
        return cls(
            weights=constant(weights, device=device),
            means=constant(means, device=device),
            covariances=family.create(n_components, n_features, device),
        )

    @classmethod
    def from_squeezed(
        cls,
        means: MeansLike,
        covariances: CovariancesLike,
        weights: WeightsLike,
        covariance_type: FamilyLike = CovarianceType.full,
    ) -> "GaussianMixture":
        """A mixture from arrays without size-one axes, in scikit-learn's shapes.

        **Arguments:**

        - `means`: shape `(components, features)`.
        - `covariances`: full `(components, features, features)`, tied
            `(features, features)`, diag `(components, features)`, spherical
            `(components,)`.
        - `weights`: shape `(components,)`; non-negative, and their sum is one.

        **Raises:**

        `ValueError` if a shape or a value cannot be right.
        """
        make = values_class(covariance_type).from_squeezed
        return cls(*construct.from_squeezed(make, means, covariances, weights))

    @classmethod
    def from_cholesky(
        cls,
        means: MeansLike,
        scale_tril: CovariancesLike,
        weights: WeightsLike,
        covariance_type: FamilyLike = CovarianceType.full,
    ) -> "GaussianMixture":
        r"""A mixture from Cholesky factors of its covariances, $Σ = L L^T$, which it
        keeps: densities, gradients and samples have the digits that a product of the
        factors would lose where covariances are nearly singular.

        **Arguments:**

        - `means`: shape `(components, features)`.
        - `scale_tril`: lower triangular, in the units of the data: full `(components,
            features, features)`, tied `(features, features)`; or standard deviations,
            diag `(components, features)`, spherical `(components,)`.
        - `weights`: shape `(components,)`; non-negative, and their sum is one.

        **Raises:**

        `ValueError` if a shape or a value cannot be right.

        **Example:**

        ```python
        scale_tril = [[[1.0, 0.0], [2.0, 3.0]]]
        mixture = gx.GaussianMixture.from_cholesky([[0.0, 0.0]], scale_tril, [1.0])
        print(mixture.covariances.values_numpy[0])
        ```

        ```text
        [[ 1.  2.]
         [ 2. 13.]]
        ```
        """
        make, name = values_class(covariance_type).from_cholesky, "scale_tril"
        return cls(*construct.from_squeezed(make, means, scale_tril, weights, name))

    @classmethod
    @hinted(START)
    def from_initialiser(
        cls,
        initialiser: AbstractInitialiser,
        x: DataLike | Observed,
        n_components: int,
        *,
        key: KeyLike,
        covariance_type: FamilyLike = CovarianceType.full,
        reg_covar: RidgeLike = None,
        sample_weight: SampleWeightLike | None = None,
    ) -> "GaussianMixture":
        """A start for EM: the parameters that fit a random partition of the data.

        **Arguments:**

        - `initialiser`: [`gmmx_eqx.KMeans`][], [`gmmx_eqx.KMeansPlusPlus`][],
            [`gmmx_eqx.RandomPoints`][], [`gmmx_eqx.RandomResponsibilities`][],
            [`gmmx_eqx.Mixed`][] or [`gmmx_eqx.Hierarchical`][].
        - `x`: the data, shape `(n_samples, n_features)`; of
            [`gmmx_eqx.Observed`][], what a single normal expects of every sample.
        - `key`: a `jax.random` key.
        - `reg_covar`: added to the diagonal of the covariances, as in
            [`gmmx_eqx.fit`][].
        - `sample_weight`: shape `(n_samples,)`.

        **Example:**

        ```python
        x = jr.normal(jr.key(0), (200, 2)).at[:100].add(5.0)
        initialiser = gx.KMeansPlusPlus()
        gx.GaussianMixture.from_initialiser(initialiser, x, 2, key=jr.key(1))
        ```
        """
        family = covariance_class(covariance_type)
        return cls(
            *construct.from_initialiser(
                initialiser, family, x, n_components, key, reg_covar, sample_weight
            )
        )

    @classmethod
    @hinted(START)
    def from_k_means(
        cls,
        x: DataLike | Observed,
        n_components: int,
        *,
        key: KeyLike,
        covariance_type: FamilyLike = CovarianceType.full,
        reg_covar: RidgeLike = None,
        sample_weight: SampleWeightLike | None = None,
    ) -> "GaussianMixture":
        """A start for EM from k-means on scaled features; see `from_initialiser`.

        **Example:**

        ```python
        x = jr.normal(jr.key(0), (200, 2)).at[:100].add(5.0)
        start = gx.GaussianMixture.from_k_means(x, 2, key=jr.key(1))
        print(np.sort(start.means_numpy, axis=0).round())
        ```

        ```text
        [[ 0. -0.]
         [ 5.  5.]]
        ```
        """
        return cls.from_initialiser(
            KMeans(),
            x,
            n_components,
            key=key,
            covariance_type=covariance_type,
            reg_covar=reg_covar,
            sample_weight=sample_weight,
        )

    @classmethod
    def from_responsibilities(
        cls,
        x: DataLike | Observed,
        resp: ResponsibilitiesLike,
        *,
        covariance_type: FamilyLike = CovarianceType.full,
        reg_covar: RidgeLike = None,
        sample_weight: SampleWeightLike | None = None,
    ) -> "GaussianMixture":
        """The most likely mixture given responsibilities, shape
        `(n_samples, n_components)`, whose rows sum to one.

        **Example:**

        ```python
        resp = [[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]]
        gx.GaussianMixture.from_responsibilities([[0.0], [1.0], [9.0]], resp)
        ```
        """
        family = covariance_class(covariance_type)
        return cls(
            *construct.from_responsibilities(family, x, resp, reg_covar, sample_weight)
        )

    @classmethod
    def from_labels(
        cls,
        x: DataLike | Observed,
        labels: LabelsLike,
        n_components: int | None = None,
        *,
        covariance_type: FamilyLike = CovarianceType.full,
        reg_covar: RidgeLike = None,
        sample_weight: SampleWeightLike | None = None,
    ) -> "GaussianMixture":
        """The most likely mixture given each sample's component, `0 <= label <
        n_components`; the number of components is the largest label plus one if not
        given. Samples whose label is -1, which are those of no known component, do not
        count.

        **Example:**

        ```python
        x, labels = [[0.0], [1.0], [9.0]], [0, 0, 1]
        gx.GaussianMixture.from_labels(x, labels, covariance_type="tied")
        ```
        """
        x, sample_weight = as_complete(x, sample_weight)
        x, sample_weight = inputs.as_data(x, sample_weight, fits=True)
        args = labels, n_components, sample_weight, x.shape[0]
        resp, sample_weight = construct.of_labels(*args)
        return cls.from_responsibilities(
            x,
            resp,
            covariance_type=covariance_type,
            reg_covar=reg_covar,
            sample_weight=sample_weight,
        )

    def update_parameters(
        self,
        x: DataLike,
        resp: ResponsibilitiesLike,
        reg_covar: RidgeLike = None,
        *,
        sample_weight: SampleWeightLike | None = None,
    ) -> "GaussianMixture":
        """The M-step: the most likely mixture of this family given responsibilities,
        shape `(n_samples, n_components)`."""
        self.check_one()
        return GaussianMixture(
            *construct.from_responsibilities(
                family_of(self.covariances),
                x,
                resp,
                reg_covar,
                sample_weight,
                n_features=self.n_features,
                like=self,
            )
        )

    def to_device(self, device: Any) -> "GaussianMixture":
        """The same mixture with its arrays on `device`."""
        return jax.device_put(self, device)

    def to_sklearn(self, **kwargs: Any) -> Any:
        """A fitted `sklearn.mixture.GaussianMixture` with these parameters; `kwargs` go
        to its constructor. Needs the extra `sklearn`."""
        from ..interop.sklearn import to_sklearn

        self.check_one()
        return to_sklearn(self, **kwargs)

    @classmethod
    def from_sklearn(cls, estimator: Any) -> "GaussianMixture":
        """The mixture of a fitted `sklearn.mixture.GaussianMixture`."""
        from ..interop.sklearn import from_sklearn

        return from_sklearn(estimator)

    def to_numpy(self) -> dict[str, np.ndarray]:
        """The parameters as a dictionary of arrays, which `np.savez` takes."""
        from ..interop.numpy import to_numpy

        return to_numpy(self)

    @classmethod
    def from_numpy(cls, arrays: ParametersLike) -> "GaussianMixture":
        """The mixture of a dictionary from `to_numpy`."""
        from ..interop.numpy import from_numpy

        return from_numpy(arrays)

    def to_scipy(self) -> tuple[np.ndarray, list[Any]]:
        """The weights, and a frozen `scipy.stats.multivariate_normal` each."""
        from ..interop.scipy import to_scipy

        return to_scipy(self)

    @classmethod
    def from_scipy(
        cls,
        weights: WeightsLike,
        components: Any,
        covariance_type: FamilyLike = CovarianceType.full,
    ) -> "GaussianMixture":
        """The mixture of frozen `scipy.stats.multivariate_normal`; a `ValueError` if
        their covariances are not of the family."""
        from ..interop.scipy import from_scipy

        return from_scipy(weights, components, covariance_type)
