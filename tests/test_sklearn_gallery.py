"""Examples of scikit-learn's gallery in miniature: exchanging the class must not change
what they show."""

import joblib
import numpy as np
import pytest
import sklearn.datasets
import sklearn.mixture
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import Pipeline

from gmmx_eqx.sklearn import GaussianMixture

from .helpers import every_sklearn_family


BOTH = (GaussianMixture, sklearn.mixture.GaussianMixture)


@pytest.mark.x64
def test_selection_by_bic():
    """Two clusters, one stretched and one round: which model has the least BIC? In a
    pipeline, by two threads."""
    rng = np.random.default_rng(0)
    stretched = rng.normal(size=(120, 2)) @ np.array([[0.0, -0.1], [1.7, 0.4]])
    x = np.concatenate([stretched, 0.7 * rng.normal(size=(120, 2)) + [-4.0, 1.0]])
    x = rng.permutation(x)
    grid = {"n_components": [1, 2], "covariance_type": ["spherical", "full"]}
    grid = {f"mixture__{name}": values for name, values in grid.items()}
    ours, theirs = (
        GridSearchCV(
            Pipeline([("mixture", kind(random_state=0))]),
            grid,
            cv=2,
            scoring=lambda pipeline, x: -pipeline["mixture"].bic(x),
            n_jobs=2,
            error_score="raise",
            refit=False,
        )
        for kind in BOTH
    )
    with joblib.parallel_config("threading"):
        ours.fit(x), theirs.fit(x)
    assert list(ours.best_params_.values()) == ["full", 2]
    assert ours.best_params_ == theirs.best_params_
    # Where there are as many components as clusters, the optimum is the same one.
    index = ours.best_index_
    got, expected = (s.cv_results_["mean_test_score"][index] for s in (ours, theirs))
    np.testing.assert_allclose(got, expected, 1e-3)


@pytest.mark.x32
@every_sklearn_family
def test_covariance_types_on_iris(name):
    """Trained from the means of the species, which species is predicted?"""
    x, species = sklearn.datasets.load_iris(return_X_y=True)
    train, test = next(StratifiedKFold(4).split(x, species))
    means = [x[train][species[train] == k].mean(axis=0) for k in range(3)]
    pooled = np.linalg.inv(np.cov(x[train].T))
    # Weights and covariances of a k-means start, in a random order, would lead to one
    # of two optima.
    start = {
        "means_init": means,
        "weights_init": np.full(3, 1 / 3),
        "precisions_init": {
            "full": np.stack(3 * [pooled]),
            "tied": pooled,
            "diag": np.stack(3 * [1 / x[train].var(axis=0)]),
            "spherical": np.full(3, 1 / x[train].var(axis=0).mean()),
        }[name],
    }
    ours, theirs = (
        kind(3, covariance_type=name, max_iter=500, tol=1e-7, **start)
        .fit(x[train])
        .predict(x[test])
        for kind in BOTH
    )
    np.testing.assert_array_equal(ours, theirs)
    assert np.mean(ours == species[test]) > 0.85


@pytest.mark.x32
def test_density_on_a_grid():
    """The negative log-density of two clusters around which it is drawn."""
    rng = np.random.default_rng(0)
    shifted = rng.normal(size=(150, 2)) + 20.0
    stretched = rng.normal(size=(150, 2)) @ np.array([[0.0, -0.7], [3.5, 0.7]])
    x = np.concatenate([shifted, stretched])
    axis = np.linspace(-20.0, 40.0, 20)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    ours, theirs = (
        -kind(2, random_state=0).fit(x).score_samples(grid) for kind in BOTH
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-8)
