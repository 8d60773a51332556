import warnings
from typing import Any

import numpy as np
from scipy.special import digamma
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from ..._core.processes import check_process
from ..._covariances import covariance_class
from ..._mixture import GaussianMixture as Mixture
from .arrays import as_mixture, as_weights
from .ascent import WarmStart
from .checks import check_parameters, check_unmasked
from .evaluation import evaluate
from .parameters import FLOATS, Integer, Number, Ridge, Start, Switch, Text
from .precision import precision
from .priors import ascent_of, check_kinds, is_singular, priors_of, PROCESS
from .sampling import draw
from .theirs import as_theirs
from .training import as_batch
from .variational import best_summit, parameters_of


class BayesianGaussianMixture(DensityMixin, BaseEstimator):
    r"""A scikit-learn estimator: the arguments, methods and attributes of
    `sklearn.mixture.BayesianGaussianMixture`, and its numbers.

    The same data, arguments and `random_state` give the start, the steps and the
    parameters of scikit-learn's estimator, within rounding, for all four covariance
    types. scikit-learn divides the samples for the start, so that components are in the
    same order, too.

    float64 data is computed in float64 and float32 data in float32, whether JAX's x64
    mode is on or off. In float32 the bound is known to fewer digits than a small `tol`
    asks for, and a fit may take another number of steps.

    Its arithmetic is scikit-learn's where that is not the textbook's:

    - `tied` counts $N / K$ samples and `spherical` $n_k$ numbers for the one covariance
        or variance, where $N$ and $n_k D$ are observed. A
        [`gmmx_eqx.NormalInverseWishart`][] with $K$ or $D$ times the degrees of freedom
        and the scale gives the same parameters.
    - The densities of `diag` and `spherical` components are weighted as if their
        precisions were full matrices.
    - `reg_covar` is added to the covariance of the samples of a component, before the
        prior is.

    [`gmmx_eqx.fit_variational`][] is the textbook's in these points. Other than in
    scikit-learn, `tied` covariances of the starts `"k-means++"` and
    `"random_from_data"`, in which most samples belong to no component, are those of the
    samples that do.

    **Attributes:**

    - `weights_`: the expected weights, shape `(n_components,)`.
    - `means_`: the expected means, shape `(n_components, n_features)`.
    - `covariances_`, `precisions_`, `precisions_cholesky_`: the expected precisions and
        their inverses; full `(n_components, n_features, n_features)`, tied
        `(n_features, n_features)`, diag `(n_components, n_features)`, spherical
        `(n_components,)`.
    - `weight_concentration_`: of the posterior of the weights: with a Dirichlet process
        two arrays, the parameters of beta distributions, otherwise one; of shape
        `(n_components,)`.
    - `mean_precision_`: by how many samples each mean is known, shape
        `(n_components,)`.
    - `degrees_of_freedom_`: of each precision, shape `(n_components,)`; a number if
        tied.
    - `weight_concentration_prior_`, `mean_precision_prior_`, `mean_prior_`,
        `degrees_of_freedom_prior_`, `covariance_prior_`: the prior.
    - `converged_`: whether the best fit settled to within `tol`.
    - `n_iter_`: how many steps it took.
    - `lower_bounds_`: scikit-learn's lower bound after each step, in nats of all
        samples; constants are left out, and responsibilities are those before the step.
    - `lower_bound_`: the last of them, -inf if no step was taken.
    - `evidence_bound_`: a lower bound of the log evidence, in nats, with all constants:
        it can be compared over numbers of components, covariance types and priors. -inf
        if `covariance_prior_` is singular, as the prior is then not a proper one.
    - `n_features_in_`, `feature_names_in_`: of the data; names if it was a data frame
        whose columns have names.

    **Example:**

    ```python
    from gmmx_eqx.sklearn import BayesianGaussianMixture

    x = np.random.default_rng(0).normal(size=(200, 2))
    x[:100] += 5.0
    estimator = BayesianGaussianMixture(n_components=5, random_state=0).fit(x)
    print(np.sum(estimator.weights_ > 0.05), "components of 5")
    ```

    ```text
    2 components of 5
    ```

    ??? cite "Reference"

        Bishop (2006), Pattern Recognition and Machine Learning, section 10.2. Blei,
        Jordan (2006), Variational Inference for Dirichlet Process Mixtures. Bayesian
        Analysis 1(1), 121-144.
    """

    weights_: np.ndarray
    means_: np.ndarray
    covariances_: np.ndarray
    precisions_: np.ndarray
    precisions_cholesky_: np.ndarray
    weight_concentration_: np.ndarray | tuple[np.ndarray, np.ndarray]
    mean_precision_: np.ndarray
    degrees_of_freedom_: np.ndarray
    weight_concentration_prior_: float
    mean_precision_prior_: float
    mean_prior_: np.ndarray
    degrees_of_freedom_prior_: float
    covariance_prior_: np.ndarray | float
    converged_: bool
    n_iter_: int
    lower_bound_: float
    lower_bounds_: list[float]
    evidence_bound_: float

    def __init__(
        self,
        *,
        n_components: Integer = 1,
        covariance_type: Text = "full",
        tol: Number = 1e-3,
        reg_covar: Ridge = 1e-6,
        max_iter: Integer = 100,
        n_init: Integer = 1,
        init_params: Start = "kmeans",
        weight_concentration_prior_type: Text = PROCESS,
        weight_concentration_prior: Number | None = None,
        mean_precision_prior: Number | None = None,
        mean_prior: Any = None,
        degrees_of_freedom_prior: Number | None = None,
        covariance_prior: Any = None,
        random_state: Any = None,
        warm_start: Switch = False,
        verbose: Integer = 0,
        verbose_interval: Integer = 10,
    ):
        """**Arguments:**

        - `n_components`: how many components at most.
        - `covariance_type`: `"full"`, `"tied"`, `"diag"` or `"spherical"`.
        - `tol`: a fit has converged when the lower bound changes by less in a step, in
            nats of all samples.
        - `reg_covar`: added to the diagonal of the covariances of samples, in squared
            data units: a number, or one for each feature; or a
            [`gmmx_eqx.extend.AbstractRidge`][].
        - `max_iter`: how many steps to take at most; zero returns the start.
        - `n_init`: how many starts to fit, of which the best is kept.
        - `init_params`: `"kmeans"`, `"k-means++"`, `"random"`, `"random_from_data"` or
            a [`gmmx_eqx.extend.AbstractInitialiser`][].
        - `weight_concentration_prior_type`: `"dirichlet_process"` or
            `"dirichlet_distribution"`.
        - `weight_concentration_prior`: the smaller, the fewer components have most of
            the weight; `1 / n_components` if not given.
        - `mean_precision_prior`: how many samples the prior mean stands for; one if not
            given.
        - `mean_prior`: shape `(n_features,)`; the mean of the data if not given.
        - `degrees_of_freedom_prior`: greater than `n_features - 1`; `n_features` if not
            given.
        - `covariance_prior`: full and tied `(n_features, n_features)`, diag
            `(n_features,)`, spherical a number; the covariance of the data if not
            given.
        - `random_state`: a number, a `numpy.random.RandomState` or `None`; for starts
            and for `sample`.
        - `warm_start`: whether `fit` goes on from what the last one found.
        - `verbose`: 1 prints how fits went, when they have ended; 2 prints more.
        - `verbose_interval`: every how many steps.
        """
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.tol = tol
        self.reg_covar = reg_covar
        self.max_iter = max_iter
        self.n_init = n_init
        self.init_params = init_params
        self.weight_concentration_prior_type = weight_concentration_prior_type
        self.weight_concentration_prior = weight_concentration_prior
        self.mean_precision_prior = mean_precision_prior
        self.mean_prior = mean_prior
        self.degrees_of_freedom_prior = degrees_of_freedom_prior
        self.covariance_prior = covariance_prior
        self.random_state = random_state
        self.warm_start = warm_start
        self.verbose = verbose
        self.verbose_interval = verbose_interval

    def fit(self, X: Any, y: Any = None) -> Any:
        """Fits the mixture to data; returns the estimator.

        **Arguments:**

        - `X`: the data, shape `(n_samples, n_features)`.
        - `y`: ignored.

        **Raises:**

        `ValueError` if a parameter or the data cannot be right, or if a covariance is
        singular in the fit from every start.
        """
        del y
        check_parameters(self)
        check_kinds(self)
        check_unmasked(X)
        X = validate_data(self, X, dtype=FLOATS, ensure_min_samples=2)
        with precision(X.dtype):
            data, _ = as_batch(X, None, int(self.n_components))
            start = self._last(X)
            priors = priors_of(self, X)
            ascent = ascent_of(self, priors, X.dtype)
            parameters = parameters_of(best_summit(self, ascent, X, data, start))
        for name, value in (priors | parameters).items():
            setattr(self, name, value)
        if is_singular(self.covariance_prior_):
            self.evidence_bound_ = -np.inf
        if not self.converged_ and self.max_iter > 0:
            warnings.warn(
                "Best performing initialization did not converge. Try different init "
                "parameters, or increase max_iter, tol, or check for degenerate data.",
                ConvergenceWarning,
                stacklevel=2,
            )
        return self

    def fit_predict(self, X: Any, y: Any = None) -> np.ndarray:
        """`fit`, then `predict` for the same data."""
        return self.fit(X, y).predict(X)

    def predict(self, X: Any) -> np.ndarray:
        """The most probable component of every sample, shape `(n_samples,)`."""
        return self._evaluate("predict", X)[0].astype(np.intp)

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probability of every component, shape `(n_samples, n_components)`."""
        return self._evaluate("predict_proba", X)[0]

    def score_samples(self, X: Any) -> np.ndarray:
        """A lower bound of the log-density of every sample, shape `(n_samples,)`, in
        nats: with the expected logarithms of weights and densities, as in
        scikit-learn."""
        log_density, largest = self._evaluate("log_prob", X)
        return log_density + largest

    def score(self, X: Any, y: Any = None) -> float:  # pyright: ignore[reportIncompatibleMethodOverride]  # the base returns nothing
        """The mean of `score_samples`, in nats per sample."""
        del y
        return float(np.mean(self.score_samples(X)))

    def sample(self, n_samples: Integer = 1) -> tuple[np.ndarray, np.ndarray]:
        """Samples of `mixture_`, shape `(n_samples, n_features)`, and their components,
        shape `(n_samples,)`, which are in order."""
        mixture = self.mixture_
        if n_samples < 1:
            raise ValueError(
                f"Invalid value for 'n_samples': {n_samples}. The sampling requires at "
                "least one sample."
            )
        with precision(self.means_.dtype):
            return draw(mixture, int(n_samples), check_random_state(self.random_state))

    def to_sklearn(self) -> Any:
        """A fitted `sklearn.mixture.BayesianGaussianMixture` with the same attributes,
        for packages that ask for that class. Its arguments are the same, except that a
        ridge or an initialiser of this library is replaced by the default."""
        return as_theirs(self)

    @property
    def mixture_(self) -> Mixture:
        """The mixture of the expected weights, means and precisions, in the precision
        of the attributes; see [`gmmx_eqx.sklearn.GaussianMixture`][] for float64 with
        JAX's x64 mode off."""
        check_is_fitted(self)
        check_process()
        dtype = self.means_.dtype
        with precision(dtype):
            return self._mixture(self.weights_, dtype)

    def _mixture(self, weights: np.ndarray, dtype: Any) -> Mixture:
        family = covariance_class(self.covariance_type)
        return as_mixture(family, weights, self.means_, self.covariances_, None, dtype)

    def _evaluate(self, method: str, X: Any) -> tuple[np.ndarray, np.floating]:
        """Of the mixture whose weights have the constants of expected log-densities in
        them, over the largest one; and the logarithm of that."""
        check_is_fitted(self)
        check_unmasked(X)
        X = validate_data(self, X, dtype=FLOATS, reset=False)
        dtype = np.result_type(X, self.means_)
        constants = self._constants()
        largest = constants.max()
        # Not zero, which would be no component.
        weights = np.maximum(np.exp(constants - largest), 4 * np.finfo(dtype).tiny)
        with precision(dtype):
            family = covariance_class(self.covariance_type)
            parameters = weights, self.means_, self.covariances_
            values = evaluate(method, family, parameters, None, X, dtype)
        return values, dtype.type(largest)

    def _constants(self) -> np.ndarray:
        """The expected logarithms of weight and density of each component, less those
        of the Gaussian with the expected mean and precision."""
        concentration, d = self.weight_concentration_, self.means_.shape[1]
        if isinstance(concentration, tuple):
            kept, left = np.asarray(concentration, np.float64)
            both = digamma(kept + left)
            before = np.cumsum(digamma(left) - both)
            logs = digamma(kept) - both + np.append(0, before[:-1])
        else:
            alpha = np.asarray(concentration, np.float64)
            logs = digamma(alpha) - digamma(alpha.sum())
        half = 0.5 * np.asarray(self.degrees_of_freedom_, np.float64)
        log_ratio = sum(digamma(half - 0.5 * i) for i in range(d)) - d * np.log(half)
        return logs + 0.5 * (log_ratio - d / np.float64(self.mean_precision_))

    def _last(self, X: np.ndarray) -> WarmStart | None:
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
        counts = np.maximum(self.mean_precision_ - self.mean_precision_prior_, 0)
        return WarmStart(
            self._mixture(self.weights_, X.dtype),
            as_weights(self._constants(), X.dtype),
            as_weights(counts, X.dtype),
        )
