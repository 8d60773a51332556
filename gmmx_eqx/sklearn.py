"""A short path to the estimator: `from gmmx_eqx.sklearn import GaussianMixture`."""

from .interop.sklearn import GaussianMixture as GaussianMixture
