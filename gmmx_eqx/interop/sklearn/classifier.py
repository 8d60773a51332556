import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import logsumexp
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_sample_weight,
    check_is_fitted,
    validate_data,
)

from ..._core import inputs
from ..._em import EM
from ..._mixture import GaussianMixture as Mixture
from .checks import as_initialiser, check_not_negative, check_unmasked
from .classes import fit_gaussians, fit_mixtures, log_densities, member, Training
from .parameters import FLOATS, Integer, Number, Ridge, Start, Text
from .precision import precision


class MixtureClassifier(ClassifierMixin, BaseEstimator):
    """A scikit-learn classifier by the density of each class: Bayes' rule for one
    Gaussian, or one mixture, for each.

    With one component for each class the classes are components of one mixture, whose
    `covariance_type` says what they have in common: `"tied"` is linear discriminant
    analysis, `"full"` the quadratic one, `"diag"` the Gaussian naive Bayes classifier,
    and mclust's names are EDDA. With more, each class has a mixture of its own, fitted
    to its samples alone, and what the family shares is shared within a class
    (MclustDA). Covariances are the most likely ones, of n rather than n - 1 samples.

    **Attributes:**

    - `classes_`: the classes, sorted, shape `(n_classes,)`.
    - `priors_`: their probabilities, shape `(n_classes,)`.
    - `converged_`: whether all fits settled to within `tol`.
    - `n_iter_`: how many steps of EM the longest took.
    - `n_features_in_`, `feature_names_in_`: of the data; names if it was a data frame
        whose columns have names.

    **Example:**

    ```python
    from gmmx_eqx.sklearn import MixtureClassifier

    x = np.array([[0.0], [1.0], [2.0], [7.0], [8.0], [9.0]])
    y = ["low", "low", "low", "high", "high", "high"]
    classifier = MixtureClassifier(covariance_type="tied").fit(x, y)
    print(classifier.predict([[3.0]]), classifier.predict_proba([[4.5]]))
    ```

    ```text
    ['low'] [[0.5 0.5]]
    ```

    ??? cite "Reference"

        Bensmail, Celeux (1996), Regularized Gaussian Discriminant Analysis through
        Eigenvalue Decomposition. JASA 91(436), 1743-1748. Fraley, Raftery (2002),
        Model-Based Clustering, Discriminant Analysis, and Density Estimation. JASA
        97(458), 611-631.
    """

    classes_: np.ndarray
    priors_: np.ndarray
    converged_: bool
    n_iter_: int
    # An ensemble of NumPy arrays.
    _mixtures: Mixture

    def __init__(
        self,
        n_components: Integer | Sequence[int] = 1,
        *,
        covariance_type: Text = "full",
        priors: Any = None,
        tol: Number = 1e-6,
        reg_covar: Ridge | None = None,
        max_iter: Integer = 1000,
        n_init: Integer = 1,
        init_params: Start = "kmeans",
        random_state: Any = None,
        unlabelled: Any = None,
    ):
        """**Arguments:**

        - `n_components`: how many components each class has: a number, or one for each
            class in the order of `classes_`.
        - `covariance_type`: the name of a registered family, such as one of
            [`gmmx_eqx.MODELS`][], or a [`gmmx_eqx.LowRank`][].
        - `priors`: the probability of each class, in the order of `classes_`; its share
            of the samples if not given.
        - `tol`: a fit has converged when the mean log-likelihood changes by less in a
            step, in nats per sample.
        - `reg_covar`: added to the diagonal of covariances, in squared data units: a
            number, or one for each feature; or a [`gmmx_eqx.extend.AbstractRidge`][]. A
            millionth of each feature's variance in the samples fitted if not given.
        - `max_iter`: how many steps of EM to take at most.
        - `n_init`: how many starts to fit of each class's mixture.
        - `init_params`: `"kmeans"`, `"k-means++"`, `"random"`, `"random_from_data"` or
            a [`gmmx_eqx.extend.AbstractInitialiser`][].
        - `random_state`: a number, a `numpy.random.RandomState` or `None`; for starts
            of more than one component.
        - `unlabelled`: the value of `y` that stands for an unknown class, which is -1
            in `sklearn.semi_supervised`. Such samples are fitted together with the
            others, with one component for each class only. If not given, every value
            is a class.
        """
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.priors = priors
        self.tol = tol
        self.reg_covar = reg_covar
        self.max_iter = max_iter
        self.n_init = n_init
        self.init_params = init_params
        self.random_state = random_state
        self.unlabelled = unlabelled

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Fits the classes' densities to data; returns the classifier.

        **Arguments:**

        - `X`: the data, shape `(n_samples, n_features)`.
        - `y`: the class of each sample, shape `(n_samples,)`.
        - `sample_weight`: shape `(n_samples,)`. Zero removes a sample, two doubles it.

        **Raises:**

        `ValueError` if a parameter or the data cannot be right, or if a component
        collapses.
        """
        inputs.check_count(self.n_init, "n_init")
        check_not_negative(self.max_iter, "max_iter")
        initialiser = as_initialiser(self.init_params)
        check_unmasked(X)
        X, y = validate_data(self, X, y, dtype=FLOATS, ensure_min_samples=2)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(
                sample_weight, X, dtype=X.dtype, ensure_non_negative=True
            )
        labels = self._labels(y, sample_weight)
        counts = self._counts(labels, sample_weight)
        priors = self._given_priors()
        with precision(X.dtype):
            training = Training(
                X,
                labels,
                sample_weight,
                self.classes_,
                self.covariance_type,
                self.reg_covar,
                EM(self.tol, self.max_iter),
            )
            if max(counts) == 1:
                fitted = fit_gaussians(training, priors)
            else:
                seed = check_random_state(self.random_state).randint(2**31 - 1)
                args = int(self.n_init), initialiser, seed
                fitted = fit_mixtures(training, counts, *args)
        self._mixtures = fitted.mixtures
        self.priors_ = fitted.shares if priors is None else priors
        self.n_iter_ = int(fitted.n_steps.max())
        self.converged_ = bool(fitted.converged.all())
        if not self.converged_:
            warnings.warn(
                "A fit did not converge. Increase max_iter or tol, or check for "
                "degenerate data.",
                ConvergenceWarning,
                stacklevel=2,
            )
        return self

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class of every sample, shape `(n_samples,)`."""
        numbers = np.argmax(self._joint(X), axis=1)
        return self.classes_[numbers]

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probability of every class, shape `(n_samples, n_classes)`."""
        return np.exp(self.predict_log_proba(X))

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """The logarithm of the probability of every class, shape
        `(n_samples, n_classes)`."""
        joint = self._joint(X)
        return joint - logsumexp(joint, axis=1, keepdims=True)

    def score_samples(self, X: Any) -> np.ndarray:
        """The log-density of every sample, of whatever class, shape `(n_samples,)`, in
        nats."""
        return np.asarray(logsumexp(self._joint(X), axis=1))

    @property
    def mixtures_(self) -> list[Mixture]:
        """The mixture of each class, in the order of `classes_`, in the precision of
        the data; see [`gmmx_eqx.sklearn.GaussianMixture`][] for float64 with JAX's x64
        mode off."""
        check_is_fitted(self)
        with precision(self._mixtures.means.dtype):
            return [member(self._mixtures, k) for k in range(len(self.classes_))]

    def _labels(self, y: Any, weight: np.ndarray | None) -> np.ndarray:
        """The number of each sample's class, and `classes_`."""
        y = column_or_1d(y, warn=True)
        is_known = np.ones(len(y), bool)
        if self.unlabelled is not None:
            is_known = np.asarray(y != self.unlabelled)
        # A sample of weight zero is not there, and may be the only one of its class.
        counted = is_known if weight is None else is_known & (weight > 0)
        if not np.any(counted):
            raise ValueError("No sample of positive weight has a class.")
        check_classification_targets(y[counted])
        self.classes_, numbers = np.unique(y[counted], return_inverse=True)
        labels = np.full(len(y), -1)
        labels[counted] = numbers
        return labels

    def _counts(self, labels: np.ndarray, weight: np.ndarray | None) -> list[int]:
        """The number of components of each class."""
        n_classes = len(self.classes_)
        given = self.n_components
        is_number = not isinstance(given, Sequence | np.ndarray)
        listed = [given] * n_classes if is_number else given
        counts = [inputs.check_count(count, "n_components") for count in listed]
        if len(counts) != n_classes:
            raise ValueError(
                f"`n_components` must be a number, or {n_classes}, one for each class; "
                f"got {len(counts)}."
            )
        for k, count in enumerate(counts):
            n_samples = np.count_nonzero(labels == k)
            if n_samples < count:
                raise ValueError(
                    f"Class {self.classes_[k]!r} has {n_samples} samples of positive "
                    f"weight, fewer than its {count} components."
                )
        present = np.ones(len(labels), bool) if weight is None else weight > 0
        if max(counts) > 1 and np.any(present & (labels < 0)):
            raise ValueError(
                "Samples of no class can be fitted with one component for each class "
                "only: set `n_components=1`, or leave them out."
            )
        return counts

    def _given_priors(self) -> np.ndarray | None:
        if self.priors is None:
            return None
        priors = np.asarray(inputs.as_float(self.priors, "priors"), np.float64)
        n_classes = len(self.classes_)
        if priors.shape != (n_classes,):
            raise ValueError(
                f"`priors` must have one number for each class, shape ({n_classes},); "
                f"got {priors.shape}."
            )
        if not np.all(priors >= 0) or abs(priors.sum() - 1) > 1e-6:
            raise ValueError(
                "`priors` must be non-negative and sum to one; they sum to "
                f"{priors.sum():.6g}, the smallest is {priors.min():.3g}."
            )
        return priors / priors.sum()

    def _joint(self, X: Any) -> np.ndarray:
        """The logarithm of prior times density, shape `(n_samples, n_classes)`."""
        check_is_fitted(self)
        check_unmasked(X)
        X = validate_data(self, X, dtype=FLOATS, reset=False)
        dtype = np.result_type(X, self._mixtures.means)
        with precision(dtype), np.errstate(divide="ignore"):
            densities = log_densities(self._mixtures, X.astype(dtype, copy=False))
            return densities + np.log(self.priors_).astype(dtype)
