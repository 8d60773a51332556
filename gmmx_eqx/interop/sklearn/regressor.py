from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from ..._core import buckets, chunks
from ..._core.aliases import Data
from ..._core.programs import program
from ..._mixture import GaussianMixture as Mixture
from ..._ops.condition import condition
from ..._ops.moments import covariance, mean
from .checks import check_unmasked
from .estimator import GaussianMixture
from .parameters import FLOATS, Integer, Number, Ridge, Start, Text
from .precision import precision


# Numbers of the conditional mixtures that are held at once.
_MOST_NUMBERS, _SMALLEST = 2**20, 128


class MixtureRegressor(MultiOutputMixin, RegressorMixin, BaseEstimator):
    """A scikit-learn regressor by a mixture of inputs and targets together: the mean of
    the targets given the inputs, in closed form.

    With one component it is linear regression; with more, each has a linear regression
    of its own, and which of them counts depends on the inputs. All of the conditional
    distribution, which may have several modes, is `gmmx_eqx.condition` of `mixture_`.

    **Attributes:**

    - `joint_`: the fitted [`gmmx_eqx.sklearn.GaussianMixture`][] of inputs and targets,
        in this order.
    - `converged_`: whether its fit settled to within `tol`.
    - `n_iter_`: how many steps of EM it took.
    - `n_features_in_`, `feature_names_in_`: of the inputs; names if they were a data
        frame whose columns have names.

    **Example:**

    ```python
    from gmmx_eqx.sklearn import MixtureRegressor

    x = np.linspace(0, 1, 50)[:, None]
    regressor = MixtureRegressor().fit(x, 3 * x[:, 0] + 1)
    print(regressor.predict([[0.5]]).round(3))
    ```

    ```text
    [2.5]
    ```

    ??? cite "Reference"

        Ghahramani, Jordan (1994), Supervised Learning from Incomplete Data via an EM
        Approach. NIPS 6, 120-127. Sung (2004), Gaussian Mixture Regression and
        Classification. PhD thesis, Rice University.
    """

    joint_: GaussianMixture
    converged_: bool
    n_iter_: int
    # Whether targets were a matrix.
    _is_matrix: bool

    def __init__(
        self,
        n_components: Integer = 1,
        *,
        covariance_type: Text = "full",
        tol: Number = 1e-6,
        reg_covar: Ridge | None = None,
        max_iter: Integer = 1000,
        n_init: Integer = 1,
        init_params: Start = "kmeans",
        random_state: Any = None,
    ):
        """**Arguments:**

        - `n_components`, `covariance_type`, `tol`, `max_iter`, `n_init`,
            `init_params`, `random_state`: of the mixture; see
            [`gmmx_eqx.sklearn.GaussianMixture`][].
        - `reg_covar`: added to the diagonal of covariances, in squared data units: a
            number, or one for each input and target; or a
            [`gmmx_eqx.extend.AbstractRidge`][]. A millionth of each one's own variance
            if not given.
        """
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.tol = tol
        self.reg_covar = reg_covar
        self.max_iter = max_iter
        self.n_init = n_init
        self.init_params = init_params
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Fits the mixture to inputs and targets; returns the regressor.

        **Arguments:**

        - `X`: the inputs, shape `(n_samples, n_features)`.
        - `y`: the targets, shape `(n_samples,)` or `(n_samples, n_targets)`.
        - `sample_weight`: shape `(n_samples,)`. Zero removes a sample, two doubles it.

        **Raises:**

        `ValueError` if a parameter or the data cannot be right, or if a component
        collapses in the fit from every start.
        """
        check_unmasked(X)
        X, y = validate_data(
            self,
            X,
            y,
            dtype=FLOATS,
            multi_output=True,
            y_numeric=True,
            ensure_min_samples=2,
        )
        y = np.asarray(y)
        self._is_matrix = y.ndim == 2
        targets = y.reshape(len(X), -1).astype(X.dtype)
        joint = GaussianMixture(**self.get_params(deep=False))
        pairs = np.concatenate([X, targets], axis=1)
        self.joint_ = joint.fit(pairs, sample_weight=sample_weight)
        self.converged_ = self.joint_.converged_
        self.n_iter_ = self.joint_.n_iter_
        return self

    def predict(
        self, X: Any, return_std: bool = False, return_cov: bool = False
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """The conditional mean of the targets, of the shape of `y` in `fit`.

        **Arguments:**

        - `X`: the inputs, shape `(n_samples, n_features)`.
        - `return_std`: whether to return the standard deviation of each target, too, of
            the same shape.
        - `return_cov`: whether to return the covariance of the targets of each sample,
            too, shape `(n_samples, n_targets, n_targets)`, in squared units of the
            targets. Given their inputs, targets of different samples are independent.

        **Raises:**

        `ValueError` if both are asked for.
        """
        if return_std and return_cov:
            raise ValueError(
                "Only one of `return_std` and `return_cov` can be asked for."
            )
        check_is_fitted(self)
        check_unmasked(X)
        X = validate_data(self, X, dtype=FLOATS, reset=False)
        mixture = self.joint_.mixture_
        with precision(mixture.means.dtype):
            x = jax.device_put(X.astype(mixture.means.dtype))
            filled, _ = buckets.fill(x, None)
            spread = return_std or return_cov
            found = _conditional(mixture, filled, spread)
            means, *covariances = (np.asarray(part)[: len(X)] for part in found)
        means = means if self._is_matrix else means[:, 0]
        if not spread:
            return means
        (covariances,) = covariances
        if return_cov:
            return means, covariances
        deviations = np.sqrt(np.diagonal(covariances, axis1=1, axis2=2))
        return means, deviations if self._is_matrix else deviations[:, 0]

    @property
    def mixture_(self) -> Mixture:
        """The fitted mixture of inputs and targets, in this order, in the precision of
        the data; see [`gmmx_eqx.sklearn.GaussianMixture`][] for float64 with JAX's x64
        mode off."""
        check_is_fitted(self)
        return self.joint_.mixture_


@program(lambda mixture, x, spread: mixture.n_components * mixture.n_features * len(x))
def _conditional(
    mixture: Mixture, x: Data, spread: bool
) -> tuple[Float[Array, "batch targets"], ...]:
    """The mean of the features that are not in `x` and, with `spread`, their
    covariance, given each sample of `x`."""
    given = np.arange(x.shape[1])

    def of_one(sample: Float[Array, " features"]) -> tuple[Array, ...]:
        targets = condition(mixture, given, sample)
        return (mean(targets), covariance(targets)) if spread else (mean(targets),)

    n_targets = mixture.n_features - x.shape[1]
    numbers = mixture.n_components * n_targets * (n_targets if spread else 1)
    size = max(_MOST_NUMBERS // numbers, _SMALLEST)
    return chunks.map_chunks(jax.vmap(of_one), x, size)
