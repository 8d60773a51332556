"""A short path to the estimators: `from gmmx_eqx.sklearn import GaussianMixture`."""

from .interop.sklearn import (
    BayesianGaussianMixture as BayesianGaussianMixture,
    GaussianMixture as GaussianMixture,
    MixtureClassifier as MixtureClassifier,
    MixtureRegressor as MixtureRegressor,
)
