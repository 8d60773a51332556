import warnings
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from ..._core.processes import check_process
from ..._covariances import covariance_class
from ..._mixture import GaussianMixture as Mixture
from .arrays import as_mixture, attributes, fields
from .checks import check_missing_values, check_parameters, check_unmasked
from .evaluation import evaluate
from .observed import as_observed, as_plain, is_complete
from .parameters import FLOATS, Integer, Number, Ridge, Start, Switch, Text
from .precision import precision
from .sampling import draw
from .streaming import as_leaves, as_state, learn
from .theirs import as_theirs
from .training import train


class GaussianMixture(DensityMixin, BaseEstimator):
    """A scikit-learn estimator: the arguments, methods and attributes of
    `sklearn.mixture.GaussianMixture`.

    float64 data is computed in float64 and float32 data in float32, whether JAX's x64
    mode is on or off.

    With `missing_values="fit"`, NaN, `NA` and masked entries are missing values, in
    everything that takes data but `partial_fit`. Data may have `noise`, whatever
    `missing_values` is. Fits and densities are then those of [`gmmx_eqx.Observed`][].

    **Attributes:**

    - `weights_`: shape `(n_components,)`.
    - `means_`: shape `(n_components, n_features)`.
    - `covariances_`, `precisions_`, `precisions_cholesky_`: full `(n_components,
        n_features, n_features)`, tied `(n_features, n_features)`, diag
        `(n_components, n_features)`, spherical `(n_components,)`.
    - `converged_`: whether the best fit settled to within `tol`.
    - `n_iter_`: how many steps of EM it took.
    - `lower_bounds_`: the mean log-likelihood before each step, in nats per sample.
    - `lower_bound_`: the last of them, -inf if no step was taken.
    - `n_features_in_`, `feature_names_in_`: of the data; names if it was a data frame
        whose columns have names.

    **Example:**

    ```python
    from gmmx_eqx.sklearn import GaussianMixture

    x = np.random.default_rng(0).normal(size=(200, 2))
    estimator = GaussianMixture(n_components=2, random_state=0).fit(x)
    print(estimator.means_.shape, estimator.predict(x).shape)
    ```

    ```text
    (2, 2) (200,)
    ```
    """

    weights_: np.ndarray
    means_: np.ndarray
    covariances_: np.ndarray
    precisions_: np.ndarray
    precisions_cholesky_: np.ndarray
    converged_: bool
    n_iter_: int
    lower_bound_: float
    lower_bounds_: list[float]
    # The arrays of covariances that are not one array, from the last fit. A class's
    # default, since the other attributes may be set without a fit.
    _fields: dict[str, np.ndarray] | None = None
    # After the last call of `partial_fit`, if there was no `fit` since.
    _state: list[np.ndarray] | None = None

    def __init__(
        self,
        n_components: Integer = 1,
        *,
        covariance_type: Text = "full",
        tol: Number = 1e-3,
        reg_covar: Ridge = 1e-6,
        max_iter: Integer = 100,
        n_init: Integer = 1,
        init_params: Start = "kmeans",
        weights_init: Any = None,
        means_init: Any = None,
        precisions_init: Any = None,
        random_state: Any = None,
        warm_start: Switch = False,
        verbose: Integer = 0,
        verbose_interval: Integer = 10,
        missing_values: Text = "error",
    ):
        """**Arguments:**

        - `n_components`: how many components.
        - `covariance_type`: `"full"`, `"tied"`, `"diag"`, `"spherical"`, or the name of
            another family that is registered.
        - `tol`: a fit has converged when the mean log-likelihood changes by less in a
            step, in nats per sample.
        - `reg_covar`: added to the diagonal of covariances, in squared data units: a
            number, or one for each feature; or a [`gmmx_eqx.extend.AbstractRidge`][].
        - `max_iter`: how many steps of EM to take at most; zero returns the start.
        - `n_init`: how many starts to fit, as one program, of which the best is kept.
        - `init_params`: `"kmeans"`, `"k-means++"`, `"random"`, `"random_from_data"` or
            a [`gmmx_eqx.extend.AbstractInitialiser`][].
        - `weights_init`, `means_init`, `precisions_init`: a start, or parts of one;
            shapes as of the attributes.
        - `random_state`: a number, a `numpy.random.RandomState` or `None`; for starts
            and for `sample`.
        - `warm_start`: whether `fit` goes on from what the last one found.
        - `verbose`: 1 prints how fits went, when they have ended; 2 prints more.
        - `verbose_interval`: every how many steps.
        - `missing_values`: `"error"` to refuse them, as scikit-learn does, or `"fit"`
            to fit to what is there.
        """
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.tol = tol
        self.reg_covar = reg_covar
        self.max_iter = max_iter
        self.n_init = n_init
        self.init_params = init_params
        self.weights_init = weights_init
        self.means_init = means_init
        self.precisions_init = precisions_init
        self.random_state = random_state
        self.warm_start = warm_start
        self.verbose = verbose
        self.verbose_interval = verbose_interval
        self.missing_values = missing_values

    def __sklearn_tags__(self) -> Any:
        tags = DensityMixin.__sklearn_tags__(self)
        tags.input_tags.allow_nan = self.missing_values == "fit"
        return tags

    def fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        noise: Any = None,
    ) -> Any:
        """Fits the mixture to data; returns the estimator.

        **Arguments:**

        - `X`: the data, shape `(n_samples, n_features)`.
        - `y`: ignored.
        - `sample_weight`: shape `(n_samples,)`. Zero removes a sample, two doubles it.
        - `noise`: the covariance of the noise in `X`, in squared data units: a number;
            shape `(n_features,)` or `(n_features, n_features)`; or `(n_samples,
            n_features)` or `(n_samples, n_features, n_features)` for one of each
            sample. The mixture is that of the data without it.

        **Raises:**

        `ValueError` if a parameter or the data cannot be right, or if a component
        collapses in the fit from every start.
        """
        del y
        check_parameters(self)
        check_missing_values(self.missing_values)
        X = self._validated(X, ensure_min_samples=2)
        with precision(X.dtype):
            solution = train(self, X, sample_weight, self._last(X), noise)
            parameters = attributes(solution.mixture)
            self._fields = fields(solution.mixture.covariances)
        self._state = None
        for name, array in parameters.items():
            setattr(self, name, array)
        n_iter = int(solution.n_steps)
        self.n_iter_ = n_iter
        # Of a name: a comparison of arrays takes longer.
        self.converged_ = solution.status == "successful"
        total = float(solution.log_likelihood) / float(solution.mean_log_likelihood)
        # Cut in NumPy: JAX would compile a program for every length.
        bounds = np.asarray(solution.log_likelihoods, np.float64)[:n_iter] / total
        self.lower_bounds_ = bounds.tolist()
        self.lower_bound_ = self.lower_bounds_[-1] if n_iter else -np.inf
        if not self.converged_ and self.max_iter > 0:
            warnings.warn(
                "Best performing initialization did not converge. Try different init "
                "parameters, or increase max_iter, tol, or check for degenerate data.",
                ConvergenceWarning,
                stacklevel=2,
            )
        return self

    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """Learns from a batch, by an update of [`gmmx_eqx.Stepwise`][]; returns the
        estimator.

        The first batch is also where the start comes from, unless there was a `fit`,
        from which it goes on. `n_iter_` counts batches, and `lower_bounds_` holds the
        mean log-likelihood of each before it was learnt from. `converged_` is false.

        **Arguments:**

        - `X`: the batch, shape `(n_samples, n_features)`, without missing values; the
            first one needs at least as many samples as components, better many times
            more.
        - `y`: ignored.
        - `sample_weight`: shape `(n_samples,)`.

        **Raises:**

        `ValueError` if a parameter or the data cannot be right.
        """
        del y
        check_parameters(self)
        check_missing_values(self.missing_values)
        check_unmasked(X)
        is_first = "means_" not in vars(self)
        least = 2 if is_first else 1
        X = validate_data(
            self, X, dtype=FLOATS, reset=is_first, ensure_min_samples=least
        )
        dtype = X.dtype if is_first else self.means_.dtype
        with precision(dtype):
            X = X.astype(dtype)
            fitted = None if is_first else self._mixture(dtype)
            before = None
            if fitted is not None and self._state is not None:
                before = as_state(self._state, fitted)
            state = learn(self, X, sample_weight, before, fitted)
            parameters = attributes(state.mixture)
            self._fields = fields(state.mixture.covariances)
            value = float(state.running.log_likelihood)
            value -= 0.0 if before is None else float(before.running.log_likelihood)
        weight = len(X) if sample_weight is None else float(np.sum(sample_weight))
        bound = value / weight if weight else np.nan
        bounds = [] if self._state is None else self.lower_bounds_
        self._state = as_leaves(state)
        for name, array in parameters.items():
            setattr(self, name, array)
        self.n_iter_ = len(bounds) + 1
        self.converged_ = False
        self.lower_bounds_ = [*bounds, bound]
        self.lower_bound_ = bound
        return self

    def fit_predict(
        self, X: Any, y: Any = None, sample_weight: Any = None, *, noise: Any = None
    ) -> Any:
        """`fit`, then `predict` for the same data."""
        return self.fit(X, y, sample_weight, noise=noise).predict(X, noise=noise)

    def predict(self, X: Any, *, noise: Any = None) -> np.ndarray:
        """The most probable component of every sample, shape `(n_samples,)`. `noise`,
        here and below, is that of `X`; see `fit`."""
        return self._evaluate("predict", X, noise).astype(np.intp)

    def predict_proba(self, X: Any, *, noise: Any = None) -> np.ndarray:
        """The probability of every component, shape `(n_samples, n_components)`."""
        return self._evaluate("predict_proba", X, noise)

    def score_samples(self, X: Any, *, noise: Any = None) -> np.ndarray:
        """The log-density of every sample, shape `(n_samples,)`, in nats; of what is
        there, if values are missing."""
        return self._evaluate("log_prob", X, noise)

    def score(self, X: Any, y: Any = None, *, noise: Any = None) -> float:  # pyright: ignore[reportIncompatibleMethodOverride]  # the base returns nothing
        """The mean log-density, in nats per sample."""
        del y
        return float(np.mean(self.score_samples(X, noise=noise)))

    def aic(self, X: Any, *, noise: Any = None) -> float:
        r"""Akaike's information criterion, $-2 \log L + 2 p$; lower is better."""
        log_density = np.asarray(self.score_samples(X, noise=noise), np.float64)
        return float(-2 * log_density.sum() + 2 * self._n_parameters())

    def bic(self, X: Any, *, noise: Any = None) -> float:
        r"""The Bayesian information criterion, $-2 \log L + p \log n$; lower is
        better."""
        log_density = np.asarray(self.score_samples(X, noise=noise), np.float64)
        penalty = self._n_parameters() * np.log(log_density.size)
        return float(-2 * log_density.sum() + penalty)

    def sample(self, n_samples: Integer = 1) -> tuple[np.ndarray, np.ndarray]:
        """Samples of the mixture, shape `(n_samples, n_features)`, and their
        components, shape `(n_samples,)`, which are in order."""
        mixture = self.mixture_
        if n_samples < 1:
            raise ValueError(
                f"Invalid value for 'n_samples': {n_samples}. The sampling requires at "
                "least one sample."
            )
        with precision(self.means_.dtype):
            return draw(mixture, int(n_samples), check_random_state(self.random_state))

    def to_sklearn(self) -> Any:
        """A fitted `sklearn.mixture.GaussianMixture` with the same attributes, for
        packages that ask for that class. Its arguments are the same, except that a
        ridge or an initialiser of this library is replaced by the default."""
        return as_theirs(self)

    @property
    def mixture_(self) -> Mixture:
        """The fitted mixture, in the precision of the attributes.

        With JAX's x64 mode off, use one of float64 inside `jax.enable_x64(True)`;
        outside, JAX computes in float32.
        """
        check_is_fitted(self)
        check_process()
        with precision(self.means_.dtype):
            return self._mixture(self.means_.dtype)

    def _mixture(self, dtype: Any) -> Mixture:
        family = covariance_class(self.covariance_type)
        return as_mixture(family, *self._parameters(), self._fields, dtype)

    def _parameters(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.weights_, self.means_, self.covariances_

    def _evaluate(self, method: str, X: Any, noise: Any) -> np.ndarray:
        check_is_fitted(self)
        X = self._validated(X, reset=False)
        # As there, the wider of two types: nothing is narrowed unasked.
        dtype = np.result_type(X, self.means_)
        with precision(dtype):
            if is_complete(X, noise):
                family = covariance_class(self.covariance_type)
                own = self._parameters(), self._fields
                return evaluate(method, family, *own, X, dtype)
            of_observed = getattr(self._mixture(dtype), method)
            return np.array(of_observed(as_observed(X, noise)))

    def _validated(self, X: Any, **options: Any) -> Any:
        """What scikit-learn makes of data, with NaN for missing values if they may
        be."""
        finite: Any = True
        if self.missing_values == "fit":
            X, finite = as_plain(X), "allow-nan"
        check_unmasked(X)
        options = {"dtype": FLOATS, "ensure_all_finite": finite, **options}
        return validate_data(self, X, **options)

    def _last(self, X: np.ndarray) -> tuple[Mixture, float] | None:
        """Where a warm start goes on."""
        if not self.warm_start or "converged_" not in vars(self):
            return None
        if self.means_.shape != (self.n_components, X.shape[1]):
            raise ValueError(
                f"With `warm_start`, `fit` goes on from {self.means_.shape[0]} "
                f"components of {self.means_.shape[1]} features, but `n_components` is "
                f"{self.n_components} and `X` has {X.shape[1]} features. Set "
                "`warm_start=False` to start afresh."
            )
        return self._mixture(X.dtype), self.lower_bound_

    def _n_parameters(self) -> int:
        return self.mixture_.n_parameters
