"""Mistakes, and what the library says to them: writes `docs/mistakes.md`.

    python -m tests.mistakes

Run outside of pytest, and so without the checker of types that tests run with: these
are the messages that users get.
"""

# ruff: noqa: E501  # a line for every mistake

import pathlib
import re
import sys
from typing import NamedTuple


PAGE = pathlib.Path(__file__).parents[1] / "docs" / "mistakes.md"

HEAD = """\
# Mistakes

What cannot be right is an error before anything is compiled: it names the argument, and
says what was expected and what was given. These are mistakes that are easily made, and
the messages that they give. The page is made by `python -m tests.mistakes`, and a test
compares it with what the library says.

Everything here is tried with

```python
import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import gmmx_eqx as gx

key = jr.key(0)
x = np.random.default_rng(0).normal(size=(100, 3))  # 100 samples, 3 features
mixture = gx.GaussianMixture.create(n_components=2, n_features=3)
solution = gx.fit(mixture, x, throw=False)
population = gx.fit_restarts(x, 2, n_restarts=2, key=key)
ensemble = gx.stack([mixture, mixture])
weights = np.ones(100)
gap = np.where(np.arange(300).reshape(100, 3) == 7, np.nan, x)
```

All of them are a `ValueError`, except that an argument that is missing, or has no such
name, is Python's `TypeError`, and an attribute that is not there its `AttributeError`.
Inside `jit` and `vmap` numbers are not known yet: there shapes and types are checked
all the same, and a NaN becomes [a status](concepts/statuses.md#nan-and-infinity).
"""

TAIL = """\
## What is not a mistake

Lists, integers, NumPy arrays and data frames are taken wherever numbers are asked for,
keys may be of either kind, and names of families are strings or members of
[`gmmx_eqx.CovarianceType`][]:

```python
import jax

assert mixture.log_prob([[1, 2, 3], [4, 5, 6]]).shape == (2,)
assert mixture.log_prob(np.arange(6).reshape(2, 3)).dtype == jnp.float32
mixture.sample(jax.random.PRNGKey(0), 5)
gx.GaussianMixture.create(2, 3, gx.CovarianceType.diag)
gx.GaussianMixture.from_squeezed([[0], [1]], [[1], [2]], [0.5, 0.5], "diag")
```
"""


class Mistake(NamedTuple):
    what: str
    code: str
    # What the message has to hold: the argument in backticks, what was expected and
    # what was given.
    argument: str
    expected: str
    given: str


GM = "gx.GaussianMixture"
SQUEEZED = f"{GM}.from_squeezed"
# What is given where Python itself says what is wrong.
NO_ARGUMENT = "unexpected keyword argument"
NO_ATTRIBUTE = "no attribute"
NOT_MADE_SO = "made of parameters"
_TYPE_ERRORS = (NO_ARGUMENT, NOT_MADE_SO, "missing", "positional")
# fmt: off
MISTAKES: dict[str, list[Mistake]] = {
    "Fits": [
        Mistake("one feature, one axis", "gx.fit(mixture, x[:, 0])", "x", "(n_samples, n_features)", "(100,)"),
        Mistake("transposed data", "gx.fit(mixture, x.T)", "x", "(n_samples, 3)", "(3, 100)"),
        Mistake("another number of features", "gx.fit(mixture, x[:, :2])", "x", "(n_samples, 3)", "(100, 2)"),
        Mistake("many data sets", "gx.fit(mixture, x[None])", "x", "(n_samples, n_features)", "(1, 100, 3)"),
        Mistake("arguments swapped", "gx.fit(x, mixture)", "mixture", "gmmx_eqx.GaussianMixture", "(100, 3)"),
        Mistake("an ensemble", "gx.fit(ensemble, x)", "mixture", "one mixture", "(2,)"),
        Mistake("a mixture without a start", "gx.fit(None, x)", "mixture", "gmmx_eqx.GaussianMixture", "None"),
        Mistake("parameters that are not fields", "gx.fit(gx.UnconstrainedMixture.from_mixture(mixture), x)", "mixture", "gmmx_eqx.GaussianMixture", "UnconstrainedMixture"),
        Mistake("a NaN", "gx.fit(mixture, gap)", "x", "finite", "(2, 1)"),
        Mistake("text", "gx.fit(mixture, [['a', 'b', 'c']])", "x", "numeric", "<U1"),
        Mistake("rows of unequal length", "gx.fit(mixture, [[1.0, 2.0], [3.0]])", "x", "array of numbers", "inhomogeneous"),
        Mistake("complex numbers", "gx.fit(mixture, x + 1j)", "x", "numeric", "complex128"),
        Mistake("a mask that is set", "gx.fit(mixture, np.ma.masked_array(x, x > 2.5))", "x", "under a mask", "masked"),
        Mistake("a spread that float32 cannot hold", "gx.fit(mixture, 1.7e9 + 60 * x)", "x", "jax_enable_x64", "128 apart"),
        Mistake("fewer samples than components", "gx.fit(mixture, x[:1])", "x", "2", "got 1"),
        Mistake("weights of the wrong length", "gx.fit(mixture, x, sample_weight=weights[:50])", "sample_weight", "(100,)", "(50,)"),
        Mistake("a negative weight", "gx.fit(mixture, x, sample_weight=-weights)", "sample_weight", "non-negative", "-1.0"),
        Mistake("weights by position", "gx.fit(mixture, x, weights)", "", "2 positional arguments", "3 were given"),
        Mistake("a negative ridge", "gx.fit(mixture, x, reg_covar=-1e-6)", "reg_covar", "at least zero", "-1e-06"),
        Mistake("a prior of other data", "gx.fit(mixture, x, prior=gx.Prior.from_data(x[:, :2]))", "prior", "has 3", "of 2 features"),
        Mistake("a part of a prior", "gx.fit(mixture, x, prior=gx.Dirichlet(2.0))", "prior", "`Prior`", "Dirichlet"),
        Mistake("a negative concentration", "gx.Dirichlet(-1.0)", "concentration", "at least zero", "-1.0"),
        Mistake("too few degrees of freedom", "gx.NormalInverseWishart(x.mean(0), 0.01, 2.0, np.cov(x.T))", "degrees_of_freedom", "greater than 2", "2.0"),
        Mistake("a shrinkage of zero", "gx.NormalInverseWishart(x.mean(0), 0, 5.0, np.cov(x.T))", "shrinkage", "greater than zero", "got 0"),
        Mistake("a scale that is singular", "gx.NormalInverseWishart(x.mean(0), 0.01, 5.0, np.ones((3, 3)))", "scale", "positive definite", "no variance"),
        Mistake("a prior of weights that are equal", "gx.fit(mixture, x, prior=gx.Prior(gx.Dirichlet(2.0)), equal_weights=True)", "prior.weights", "Leave one of them out", "equal_weights"),
        Mistake("a ridge for other features", "gx.fit(mixture, x, reg_covar=[1e-3, 1e-3])", "reg_covar", "3, one for each feature", "(2,)"),
        Mistake("the name of a solver", "gx.fit(mixture, x, solver='SQUAREM')", "solver", "gmmx_eqx.EM()", "'SQUAREM'"),
        Mistake("a solver's class", "gx.fit(mixture, x, solver=gx.EM)", "solver", "gmmx_eqx.EM()", "`EM()`"),
        Mistake("a tolerance that is not one", "gx.EM(tol=-1.0)", "tol", "at least zero", "-1.0"),
        Mistake("steps that cannot be counted", "gx.EM(max_steps=1e3)", "max_steps", "integer", "1000.0"),
        Mistake("a resolution for other features", "gx.fit(mixture, x, resolution=[1.0, 1.0])", "resolution", "3, one for each", "(2,)"),
        Mistake("a weight for all components", "gx.fit(mixture, x, equal_weights=0.5)", "equal_weights", "`True` or `False`", "got 0.5"),
        Mistake("equal weights, and frozen ones", "gx.fit(mixture, x, equal_weights=True, frozen=gx.Frozen(weights=True))", "Frozen.weights", "`equal_weights`", "Leave one of them out"),
        Mistake("names of what is frozen", "gx.fit(mixture, x, frozen='means')", "frozen", "gmmx_eqx.Frozen(means=True)", "'means'"),
        Mistake("a mask for other components", "gx.fit(mixture, x, frozen=gx.Frozen(means=[True] * 3))", "Frozen.means", "2", "(3,)"),
    ],
    "Many fits": [
        Mistake("the key forgotten", "gx.fit_restarts(x, 3)", "", "'key'", "missing"),
        Mistake("a seed for a key", "gx.fit_restarts(x, 3, key=0)", "key", "jax.random.key(0)", "got 0"),
        Mistake("many keys for one", "gx.fit_restarts(x, 3, key=jr.split(key, 8))", "key", "one random key", "(8,)"),
        Mistake("a mixture for a number", "gx.fit_restarts(x, mixture, key=key)", "n_components", "integer", "GaussianMixture"),
        Mistake("components that cannot be counted", "gx.fit_restarts(x, 3.0, key=key)", "n_components", "integer", "3.0"),
        Mistake("no components", "gx.fit_restarts(x, 0, key=key)", "n_components", "at least 1", "got 0"),
        Mistake("more components than samples", "gx.fit_restarts(x, 101, key=key)", "x", "101", "got 100"),
        Mistake("a misspelt family", "gx.fit_restarts(x, 3, 'diagonal', key=key)", "covariance_type", "'diag'", "'diagonal'"),
        Mistake("the name of a start", "gx.fit_restarts(x, 3, key=key, initialiser='k-means')", "initialiser", "gmmx_eqx.KMeans()", "'k-means'"),
        Mistake("something frozen, at no value", "gx.fit_restarts(x, 2, key=key, frozen=gx.Frozen(means=True))", "frozen", "frozen_at", "none to keep"),
        Mistake("a value, and nothing frozen", "gx.fit_restarts(x, 2, key=key, frozen_at=mixture)", "frozen_at", "Frozen(means=[True, False])", "needs `frozen`"),
        Mistake("frozen values for other components", "gx.fit_restarts(x, 3, key=key, frozen=gx.Frozen(means=True), frozen_at=mixture)", "frozen_at", "3 components", "2 and 3"),
        Mistake("one data set for many", "gx.fit_batch(x, 3, key=key)", "xs", "(n_sets, n_samples, n_features)", "(100, 3)"),
        Mistake("data sets of unequal features", "gx.fit_batch([x, x[:, :2]], 3, key=key)", "xs[1]", "(100, 3)", "(100, 2)"),
        Mistake("no data sets", "gx.fit_batch([], 3, key=key)", "xs", "at least one", "empty"),
        Mistake("weights for one of two", "gx.fit_batch([x, x], 3, key=key, sample_weight=[weights])", "sample_weight", "(100,), (100,)", "got (100,)"),
        Mistake("one number for several", "gx.select(x, 3, key=key)", "n_components", "range(1, 10)", "got 3"),
        Mistake("one family for several", "gx.select(x, [3], 'full', key=key)", "covariance_types", "['full', 'diag']", "got 'full'"),
        Mistake("a misspelt family", "gx.select(x, [3], ['full', 'sperical'], key=key)", "covariance_types", "'spherical'", "'sperical'"),
        Mistake("an unknown criterion", "gx.select(x, [3], criterion='BIC', key=key)", "criterion", "'bic'", "'BIC'"),
    ],
    "Densities and samples": [
        Mistake("one sample, one axis", "mixture.log_prob(x[0])", "x", "(n_samples, n_features)", "(3,)"),
        Mistake("transposed data", "mixture.predict(x.T)", "x", "(n_samples, 3)", "(3, 100)"),
        Mistake("a NaN", "mixture.log_prob(gap)", "x", "finite", "(2, 1)"),
        Mistake("a method of an ensemble", "ensemble.log_prob(x)", "", "eqx.filter_vmap", "(2,)"),
        Mistake("weights of the wrong length", "mixture.bic(x, sample_weight=weights[:50])", "sample_weight", "(100,)", "(50,)"),
        Mistake("arguments swapped", "mixture.sample(100, key)", "key", "jax.random.key(0)", "got 100"),
        Mistake("a shape for a number", "mixture.sample(key, (10, 3))", "n_samples", "integer", "(10, 3)"),
        Mistake("no samples", "mixture.sample(key, 0)", "n_samples", "at least 1", "got 0"),
    ],
    "Operations": [
        Mistake("arguments swapped", "gx.marginal(0, mixture)", "mixture", "gmmx_eqx.GaussianMixture", "got 0"),
        Mistake("a feature that there is not", "gx.marginal(mixture, 3)", "features", "0 ... 2", "index 3"),
        Mistake("a mask for indices", "gx.marginal(mixture, [True, False, True])", "features", "integer", "[True, False, True]"),
        Mistake("too few values", "gx.condition(mixture, [0, 1], [1.0])", "values", "(2,)", "(1,)"),
        Mistake("arguments swapped", "gx.condition(mixture, [1.0, 2.0], [0, 1])", "features", "integer", "[1.0, 2.0]"),
        Mistake("all features given", "gx.condition(mixture, [0, 1, 2], [1.0, 2.0, 3.0])", "features", "at least one of the 3", "all features"),
        Mistake("a row for a diagonal", "gx.observe(mixture, [1, 0, 0], 1.0, [0.0])", "H", "[[1, 0, 0]]", "zeros and ones"),
        Mistake("a transposed matrix", "gx.observe(mixture, np.ones((3, 2)), 1.0, [0.0, 0.0])", "H", "(outputs, 3)", "(3, 2)"),
        Mistake("arguments swapped", "gx.observe(mixture, np.ones((2, 3)), [0.0, -1.0], 0.1)", "R", "covariance", "-1"),
        Mistake("a covariance that is not one", "gx.observe(mixture, gx.Features([0, 1]), [[1, 2], [2, 1]], [0, 0])", "R", "positive semidefinite", "-1"),
        Mistake("many observations for one", "gx.observe(mixture, gx.Features([0, 1]), 0.1, x[:, :2])", "y", "(2,)", "(100, 2)"),
        Mistake("a NaN", "gx.observe(mixture, gx.Features([0, 1]), 0.1, [0.0, np.nan])", "y", "finite", "nan"),
        Mistake("more outputs than features", "gx.affine(mixture, np.ones((4, 3)))", "A", "3", "4"),
        Mistake("data for a mixture", "gx.product(mixture, x)", "q", "gmmx_eqx.GaussianMixture", "(100, 3)"),
        Mistake("mixtures of unequal features", "gx.divergences.wasserstein(mixture, gx.marginal(mixture, 0))", "second", "3", "1"),
        Mistake("more features than one", "gx.univariate.cdf(mixture, 0.0)", "mixture", "one feature", "3"),
        Mistake("groups for other components", "gx.merge(mixture, [0, 0, 1])", "groups", "(2,)", "(3,)"),
    ],
    "Making mixtures": [
        Mistake("no features", f"{GM}.create(2, 0)", "n_features", "at least 1", "got 0"),
        Mistake("data for a number", f"{GM}.create(x, 3)", "n_components", "integer", "(100, 3)"),
        Mistake("a class that is no family", f"{GM}.create(2, 3, gx.GaussianMixture)", "covariance_type", "'diag'", "GaussianMixture"),
        Mistake("variances for matrices", f"{SQUEEZED}([[0.0], [1.0]], [[1.0], [2.0]], [0.5, 0.5])", "covariances", "(components, features, features_covar)", "(2, 1)"),
        Mistake("covariances for other components", f"{SQUEEZED}([[0.0], [1.0]], np.ones((3, 1)), [0.5, 0.5], 'diag')", "covariances", "`means`, 2", "got 3"),
        Mistake("means without an axis", f"{SQUEEZED}([0.0, 1.0], [1.0, 1.0], [0.5, 0.5], 'spherical')", "means", "(components, features)", "(2,)"),
        Mistake("weights that do not sum to one", f"{SQUEEZED}([[0.0], [1.0]], [1.0, 1.0], [1.0, 1.0], 'spherical')", "weights", "sum to one", "sum to 2"),
        Mistake("weights for other components", f"{SQUEEZED}([[0.0], [1.0]], [1.0, 1.0], [1.0], 'spherical')", "weights", "(2,)", "(1,)"),
        Mistake("arguments swapped", f"{SQUEEZED}([0.5, 0.5], [1.0, 1.0], [[0.0], [1.0]], 'spherical')", "means", "(components, features)", "(2,)"),
        Mistake("a negative variance", f"{SQUEEZED}([[0.0], [1.0]], [1.0, -1.0], [0.5, 0.5], 'spherical')", "covariances", "positive definite", "component 1 is -1"),
        Mistake("a matrix that is not symmetric", f"{SQUEEZED}([[0.0, 0.0]], [[1.0, 0.5], [0.0, 1.0]], [1.0], 'tied')", "covariances", "symmetric", "0.5 and 0"),
        Mistake("a matrix that is not positive", f"{SQUEEZED}([[0.0, 0.0]], [[1.0, 2.0], [2.0, 1.0]], [1.0], 'tied')", "covariances", "positive definite", "eigenvalue of -1"),
        Mistake("squeezed arrays for fields", f"{GM}(weights=jnp.ones(1), means=jnp.zeros((1, 3)), covariances=gx.FullCovariances.create(1, 3))", "weights", "components", "(1,)"),
        Mistake("NumPy arrays for fields", "gx.DiagCovariances(values=np.ones((1, 2, 3, 1)))", "values", "a JAX array", "a NumPy array of shape (1, 2, 3, 1)"),
        Mistake("integers for fields", "gx.DiagCovariances(values=jnp.ones((1, 2, 3, 1), int))", "values", "Float", "int32"),
        Mistake("an array for a family", f"{GM}(weights=mixture.weights, means=mixture.means, covariances=jnp.ones((1, 2, 3, 3)))", "covariances", "AbstractCovariances", "(1, 2, 3, 3)"),
        Mistake("covariances of fewer features", f"{GM}(mixture.weights, mixture.means, gx.FullCovariances.create(2, 4))", "covariances", "`means`, 3", "got 4"),
        Mistake("a field forgotten", f"{GM}(mixture.weights, mixture.means)", "", "'covariances'", "missing"),
        Mistake("the key forgotten", f"{GM}.from_k_means(x, 2)", "", "'key'", "missing"),
        Mistake("labels of the wrong length", f"{GM}.from_labels(x, np.zeros(50, int))", "labels", "(100,)", "(50,)"),
        Mistake("labels that are not integers", f"{GM}.from_labels(x, np.zeros(100))", "labels", "integers", "float64"),
        Mistake("responsibilities transposed", f"{GM}.from_responsibilities(x, np.full((2, 100), 0.5))", "resp", "100 samples", "(2, 100)"),
        Mistake("responsibilities that do not sum to one", f"{GM}.from_responsibilities(x, np.ones((100, 2)))", "resp", "sum to one", "sums to 2.0"),
        Mistake("mixtures of unequal shape", f"gx.stack([mixture, {GM}.create(3, 3)])", "mixtures[1]", "mixtures[0]", "shape"),
    ],
    "Names of scikit-learn's": [
        Mistake("an estimator's arguments", f"{GM}(n_components=3)", "", "gx.fit_restarts", NOT_MADE_SO),
        Mistake("a number of components", f"{GM}(3)", "", "gmmx_eqx.sklearn.GaussianMixture", NOT_MADE_SO),
        Mistake("data alone", "gx.fit(x, n_components=3)", "", "from_k_means", f"{NO_ARGUMENT} 'n_components'"),
        Mistake("`max_iter`", "gx.fit(mixture, x, max_iter=500)", "", "solver=gx.EM(max_steps=...)", f"{NO_ARGUMENT} 'max_iter'"),
        Mistake("`tol`", "gx.fit(mixture, x, tol=1e-4)", "", "solver=gx.EM(tol=...)", f"{NO_ARGUMENT} 'tol'"),
        Mistake("`covariance_type`", "gx.fit(mixture, x, covariance_type='diag')", "", "from_k_means", f"{NO_ARGUMENT} 'covariance_type'"),
        Mistake("`n_init`, of a fit", "gx.fit(mixture, x, n_init=10)", "", "n_restarts=...", f"{NO_ARGUMENT} 'n_init'"),
        Mistake("`init_params`, of a fit", "gx.fit(mixture, x, init_params='kmeans')", "", "from_k_means", f"{NO_ARGUMENT} 'init_params'"),
        Mistake("`random_state`, of a fit", "gx.fit(mixture, x, random_state=0)", "", "key=key", f"{NO_ARGUMENT} 'random_state'"),
        Mistake("`warm_start`", "gx.fit(mixture, x, warm_start=True)", "", "gx.fit(solution.mixture, x)", f"{NO_ARGUMENT} 'warm_start'"),
        Mistake("`verbose`", "gx.fit(mixture, x, verbose=1)", "", "progress=True", f"{NO_ARGUMENT} 'verbose'"),
        Mistake("`n_init`", "gx.fit_restarts(x, 3, n_init=10, key=key)", "", "n_restarts", f"{NO_ARGUMENT} 'n_init'"),
        Mistake("`init_params`", "gx.fit_restarts(x, 3, init_params='kmeans', key=key)", "", "gx.KMeans()", f"{NO_ARGUMENT} 'init_params'"),
        Mistake("`random_state`", "gx.fit_restarts(x, 3, random_state=0)", "", "jax.random.key(0)", f"{NO_ARGUMENT} 'random_state'"),
        Mistake("`means_init`", "gx.fit_restarts(x, 3, means_init=x[:3], key=key)", "", "from_squeezed", f"{NO_ARGUMENT} 'means_init'"),
        Mistake("one family for several", "gx.select(x, covariance_type='full', key=key)", "", "covariance_types", f"{NO_ARGUMENT} 'covariance_type'"),
        Mistake("`random_state`, of a start", f"{GM}.from_k_means(x, 2, random_state=0)", "", "jax.random.key(0)", f"{NO_ARGUMENT} 'random_state'"),
        Mistake("`max_iter`, of a solver", "gx.EM(max_iter=500)", "", "max_steps", f"{NO_ARGUMENT} 'max_iter'"),
        Mistake("a fit as a method", "mixture.fit(x)", "", "gx.fit(mixture, x)", f"{NO_ATTRIBUTE} 'fit'"),
        Mistake("a fit and labels", "mixture.fit_predict(x)", "", "mixture.predict(x)", f"{NO_ATTRIBUTE} 'fit_predict'"),
        Mistake("`means_`", "mixture.means_", "", "means_numpy", f"{NO_ATTRIBUTE} 'means_'"),
        Mistake("`covariances_`", "mixture.covariances_", "", "covariances.values_numpy", f"{NO_ATTRIBUTE} 'covariances_'"),
        Mistake("`n_iter_` of a mixture", "mixture.n_iter_", "", "n_steps", f"{NO_ATTRIBUTE} 'n_iter_'"),
        Mistake("an operation as a method", "mixture.marginal([0, 1])", "", "gx.marginal(mixture, ...)", f"{NO_ATTRIBUTE} 'marginal'"),
        Mistake("`n_iter_`", "solution.n_iter_", "", "solution.n_steps", f"{NO_ATTRIBUTE} 'n_iter_'"),
        Mistake("a solution for a mixture", "solution.predict(x)", "", "solution.mixture.predict", f"{NO_ATTRIBUTE} 'predict'"),
        Mistake("`means_` of a solution", "solution.means_", "", "solution.mixture", f"{NO_ATTRIBUTE} 'means_'"),
        Mistake("many fits for one", "population.mixture", "", "population.best.mixture", f"{NO_ATTRIBUTE} 'mixture'"),
    ],
    "Files": [
        Mistake("the ending of another format", "gx.save('mixture.npz', mixture)", "path", "'.safetensors'", "'.npz'"),
        Mistake("arguments swapped", "gx.save(mixture, 'mixture.safetensors')", "path", "name of a file", "GaussianMixture"),
    ],
}
# fmt: on


def namespace() -> dict:
    """What the page's first block defines."""
    block = re.search(r"```python\n(.*?)```", HEAD, re.DOTALL)
    assert block is not None
    names = {}
    exec(block[1], names)
    return names


def message(code: str, names: dict) -> tuple[str, str]:
    """The type of the error and its message, without an object's address."""
    try:
        eval(code, dict(names))
    except (ValueError, TypeError, AttributeError) as error:
        return type(error).__name__, str(error)
    raise AssertionError(f"no error: {code}")


def shortcomings(mistake: Mistake, kind: str, text: str) -> list[str]:
    """What a message should say and does not."""
    wanted_kind, words = "ValueError", f"{mistake.given} {mistake.expected}"
    if not mistake.argument and any(part in words for part in _TYPE_ERRORS):
        wanted_kind = "TypeError"
    if NO_ATTRIBUTE in words:
        wanted_kind = "AttributeError"
    wanted = [mistake.expected, mistake.given]
    wanted += [f"`{mistake.argument}`"] if mistake.argument else []
    missing = [part for part in wanted if part not in text]
    if kind != wanted_kind:
        missing.append(f"{kind} is not the right kind of error")
    return missing


def page() -> str:
    names = namespace()
    parts, failures = [HEAD], []
    for section, mistakes in MISTAKES.items():
        rows = [f"## {section}", "", "| mistake | what it says |", "|---|---|"]
        for mistake in mistakes:
            kind, text = message(mistake.code, names)
            missing = shortcomings(mistake, kind, text)
            if missing:
                failures.append(f"{mistake.code}\n  {text}\n  lacks {missing}")
            text = " ".join(text.split()).replace("|", "\\|")
            rows.append(f"| {mistake.what}<br>`{mistake.code}` | {text} |")
        parts.append("\n".join(rows) + "\n")
    if failures:
        raise SystemExit("\n".join(failures))
    return "\n".join([*parts, TAIL])


if __name__ == "__main__":
    written = page()
    if "--check" in sys.argv:
        if written != PAGE.read_text(encoding="utf-8"):
            raise SystemExit(
                "docs/mistakes.md is out of date: python -m tests.mistakes"
            )
    else:
        PAGE.write_text(written, encoding="utf-8")
