"""Numbers come in by one door, whatever holds them: what NumPy, JAX or pandas takes for
numbers gives the same result, and what is no number is refused."""

import array
import decimal
import fractions
import functools as ft

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pandas as pd
import pytest

import gmmx_eqx as gx

from .helpers import leaves, make_data, make_mixture


KEY = jr.key(0)
X = np.round(make_data(40), 3).astype(np.float32)
MIXTURE = make_mixture("diag", dtype=jnp.float32)
LINE = gx.marginal(MIXTURE, 0)
WEIGHTS = np.round(np.linspace(0.5, 2, 40), 2).astype(np.float32)
UNIFORM = np.full((40, 3), 0.25, np.float32) + np.array([0, 0, 0.25], np.float32)
LABELS = np.arange(40) % 3
MEANS = np.array([[0.0, 1.0], [4.0, 2.0]], np.float32)
VARIANCES = np.array([[1.0, 2.0], [0.5, 1.0]], np.float32)
HALVES = np.array([0.5, 0.5], np.float32)
GM = gx.GaussianMixture
fit = ft.partial(gx.fit, solver=gx.EM(max_steps=2), throw=False)
many = ft.partial(
    gx.fit_batch, n_components=2, covariance_type="diag", key=KEY, n_restarts=1
)


def squeezed(means=MEANS, covariances=VARIANCES, weights=HALVES):
    return GM.from_squeezed(means, covariances, weights, "diag")


# Every function that takes arrays: its name, the array's name, a call with it, and it.
TAKES = {
    "fit": ("x", lambda a: fit(MIXTURE, a), X),
    "fit, weights": (
        "sample_weight",
        lambda a: fit(MIXTURE, X, sample_weight=a),
        WEIGHTS,
    ),
    "fit, reg_covar": (
        "reg_covar",
        lambda a: fit(MIXTURE, X, reg_covar=a),
        np.array([0.5, 0.25], np.float32),
    ),
    "from_k_means": ("x", lambda a: GM.from_k_means(a, 2, key=KEY), X),
    "from_labels": ("x", lambda a: GM.from_labels(a, LABELS), X),
    "from_responsibilities": (
        "resp",
        lambda a: GM.from_responsibilities(X, a),
        UNIFORM,
    ),
    "update_parameters": ("x", lambda a: MIXTURE.update_parameters(a, UNIFORM), X),
    "from_squeezed, means": ("means", lambda a: squeezed(means=a), MEANS),
    "from_squeezed, covariances": (
        "covariances",
        lambda a: squeezed(covariances=a),
        VARIANCES,
    ),
    "from_squeezed, weights": ("weights", lambda a: squeezed(weights=a), HALVES),
    "from_precisions": (
        "precisions",
        gx.DiagCovariances.from_precisions,
        VARIANCES,
    ),
    "log_prob": ("x", MIXTURE.log_prob, X),
    "predict_proba": ("x", MIXTURE.predict_proba, X),
    "score": ("x", MIXTURE.score, X),
    "bic": ("sample_weight", lambda a: MIXTURE.bic(X, a), WEIGHTS),
    "score_function": ("x", lambda a: gx.score_function(MIXTURE, a), X),
    "denoise": ("y", lambda a: gx.denoise(MIXTURE, a, 0.5), X),
    "denoise, noise": (
        "noise_covariance",
        lambda a: gx.denoise(MIXTURE, X, a),
        HALVES,
    ),
    "observe, H": (
        "H",
        lambda a: gx.observe(MIXTURE, a, 0.5, [1.0, 0.0]),
        VARIANCES,
    ),
    "observe, R": (
        "R",
        lambda a: gx.observe(MIXTURE, 1.0, a, [1.0, 0.0]),
        HALVES,
    ),
    "observe, y": ("y", lambda a: gx.observe(MIXTURE, 1.0, 0.5, a), HALVES),
    "condition": (
        "values",
        lambda a: gx.condition(MIXTURE, [0], a),
        np.array([0.5], np.float32),
    ),
    "affine, A": ("A", lambda a: gx.affine(MIXTURE, a), VARIANCES),
    "affine, b": ("b", lambda a: gx.affine(MIXTURE, 1.0, a), HALVES),
    "cdf": ("x", lambda a: gx.univariate.cdf(LINE, a), HALVES),
    "quantile": ("q", lambda a: gx.univariate.quantile(LINE, a), HALVES),
    "impute": ("x", lambda a: gx.impute(MIXTURE, a), X),
    "log_prob_observed": ("x", lambda a: gx.log_prob_observed(MIXTURE, a), X),
}
INTEGERS = {
    "from_labels": ("labels", lambda a: GM.from_labels(X, a), LABELS),
    "merge": ("groups", lambda a: gx.merge(MIXTURE, a), np.array([0, 1, 0])),
    "Features": (
        "features",
        lambda a: gx.marginal(MIXTURE, gx.Features(a)),
        np.array([1]),
    ),
    "condition": (
        "features",
        lambda a: gx.condition(MIXTURE, a, [0.0]),
        np.array([1]),
    ),
}
MISSING = ("impute", "log_prob_observed")
every_function = pytest.mark.parametrize("function", TAKES)


def same(one, other, exactly=True):
    one, other = leaves(one), leaves(other)
    assert len(one) == len(other) > 0
    for a, b in zip(one, other, strict=True):
        assert a.dtype == b.dtype
        if exactly:
            np.testing.assert_array_equal(a, b)
        else:
            # Compiled with constants or without.
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5)


def refused(call, argument, *shown):
    with pytest.raises(ValueError) as caught:
        call()
    for text in (f"`{argument}", *shown):
        assert text in str(caught.value)


HOLDS = {
    "big-endian": lambda a: a.astype(a.dtype.newbyteorder(">")),
    "read-only": lambda a: jnp.asarray(a).__array__(),
    "strides that are negative": lambda a: a[::-1].copy()[::-1],
    "memoryview": memoryview,
    "masked, without a mask": np.ma.masked_array,
    "masked, with nothing masked": lambda a: np.ma.masked_array(a, a != a),
    "a data frame": lambda a: pd.DataFrame(a) if a.ndim == 2 else pd.Series(a),
    "an object with __array__": lambda a: type(
        "Tensor", (), {"__array__": lambda _, dtype=None, copy=None: a}
    )(),
    "a list of arrays": lambda a: [*a] if a.ndim == 2 else a,
    "a list of JAX arrays": lambda a: [*jnp.asarray(a)],
}


@pytest.mark.x32
@every_function
@pytest.mark.parametrize("held", HOLDS)
def test_what_holds_numbers_does_not_matter(function, held):
    _, call, a = TAKES[function]
    same(call(HOLDS[held](a)), call(a))


@pytest.mark.x32
@pytest.mark.parametrize("function", INTEGERS)
@pytest.mark.parametrize("held", HOLDS)
def test_what_holds_integers_does_not_matter(function, held):
    _, call, a = INTEGERS[function]
    held = HOLDS[held](a)
    same(call(held), call(a))
    same(call(a.astype(object)), call(a))
    same(call(pd.array(a, dtype="Int64")), call(a))


def nullable(a):
    frame = pd.DataFrame(a) if a.ndim == 2 else pd.Series(a)
    return frame.astype("Float64")


# These are float64, and JAX's default float where that is off.
WIDE = {
    "long double": lambda a: a.astype(np.longdouble),
    "objects": lambda a: a.astype(object),
    "fractions": lambda a: np.vectorize(fractions.Fraction, otypes=[object])(
        a.astype(float)
    ),
    "decimals": lambda a: np.vectorize(decimal.Decimal, otypes=[object])(
        a.astype(float)
    ),
    "nullable": nullable,
    "big-endian": lambda a: a.astype(">f8"),
}


@pytest.mark.x64
@every_function
@pytest.mark.parametrize("held", WIDE)
def test_wide_numbers(function, held):
    _, call, a = TAKES[function]
    same(call(WIDE[held](a)), call(a.astype(np.float64)))


@pytest.mark.x32
@pytest.mark.parametrize("dtype", [">f2", np.float16, jnp.bfloat16])
def test_narrow_numbers(dtype):
    for call in (MIXTURE.log_prob, lambda a: fit(MIXTURE, a)):
        same(call(X.astype(dtype)), call(X.astype(dtype).astype(np.float32)))


@pytest.mark.x32
def test_bytes_and_arrays_of_python():
    y = array.array("f", HALVES)
    same(gx.observe(MIXTURE, 1.0, 0.5, y), gx.observe(MIXTURE, 1.0, 0.5, HALVES))
    refused(lambda: gx.observe(MIXTURE, 1.0, 0.5, b"ab"), "y", "numeric")


@pytest.mark.x32
@pytest.mark.parametrize("function", TAKES | {f"{n} of": INTEGERS[n] for n in INTEGERS})
def test_a_mask_is_respected(function):
    argument, call, a = (TAKES | {f"{n} of": INTEGERS[n] for n in INTEGERS})[function]
    mask = np.zeros(a.shape, bool)
    mask.flat[-1] = True
    sentinel = np.ma.masked_array(np.where(mask, 9, a), mask)
    rows = list(sentinel) if a.ndim == 2 else sentinel.tolist()
    scalars = [*a[:-1].tolist(), np.ma.masked] if a.ndim == 1 else rows
    forms = (sentinel, rows, scalars, sentinel.astype(object))
    for form in forms:
        if function in MISSING:
            gap = np.where(mask, np.nan, a)
            is_object = getattr(form, "dtype", np.dtype(float)).kind == "O"
            same(call(form), call(gap.astype(float if is_object else a.dtype)))
        else:
            refused(ft.partial(call, form), argument)
    if function not in MISSING:
        refused(ft.partial(call, sentinel), argument, f"1 of its {a.size}", "masked")


@pytest.mark.x32
def test_masked_integers_are_missing():
    x = np.ma.masked_array([[1, -99], [2, 3]], [[False, True], [False, False]])
    gap = np.array([[1.0, np.nan], [2.0, 3.0]])
    same(gx.impute(MIXTURE, x), gx.impute(MIXTURE, gap))


@pytest.mark.x32
def test_masked_data_sets():
    mask = np.zeros(X.shape, bool)
    mask[3, 1] = True
    masked = np.ma.masked_array(X, mask)
    for xs in ([X, masked], (masked, X[:20]), np.ma.stack([masked, masked])):
        refused(lambda xs=xs: many(xs), "xs", "masked", "3, 1)")
    weights = [WEIGHTS, np.ma.masked_array(WEIGHTS, WEIGHTS > 1.9)]
    call = lambda: many([X, X], sample_weight=weights)
    refused(call, "sample_weight[1]", "masked")
    weights = np.ma.masked_array([True, True, False], [False, True, False])
    refused(lambda: gx.Frozen(means=weights), "Frozen.means", "masked")


@pytest.mark.x32
@every_function
def test_what_is_not_there(function):
    argument, call, a = TAKES[function]
    frame = nullable(a)
    if a.ndim == 2:
        frame.iloc[1, 1] = pd.NA
    else:
        frame[0] = pd.NA
    flat = a.astype(object)
    flat.flat[-1] = None
    if function in MISSING:
        gap = a.astype(np.float64)
        gap[1, 1] = np.nan
        same(call(frame), call(gap))
        gap = np.where(np.arange(a.size).reshape(a.shape) == a.size - 1, np.nan, a)
        same(call(flat), call(gap.astype(np.float64)))
    else:
        if function != "cdf":
            # There pandas' own NaN is a NaN of the result.
            refused(ft.partial(call, frame), argument)
        refused(ft.partial(call, flat), argument, "1 of its", "NA")


@pytest.mark.x32
@every_function
def test_what_is_no_number(function):
    argument, call, a = TAKES[function]
    fields = [("a", float), ("b", float)]
    structured = np.zeros(len(a), fields)
    refused(ft.partial(call, structured), argument, "['a', 'b']")
    for kind in (str, complex, "M8[s]", bytes):
        other = np.ones(a.shape, int).astype(kind)
        refused(ft.partial(call, other), argument, f"dtype {other.dtype}")
    text = a.astype(object)
    text.flat[0] = "1.0"
    refused(ft.partial(call, text), argument, "'1.0'")
    refused(ft.partial(call, jr.split(KEY, len(a))), argument, "key")


@pytest.mark.x32
def test_data_frames_of_mixed_columns():
    frame = pd.DataFrame({"a": pd.array([1, 2], "Int64"), "b": [True, False]})
    same(MIXTURE.log_prob(frame), MIXTURE.log_prob(np.array([[1, 1], [2, 0]], float)))
    frame["b"] = ["x", "y"]
    refused(lambda: MIXTURE.log_prob(frame), "x", "'x'", "`str`")
    nullable_boolean = pd.array([True, False, True], dtype="boolean")
    same(gx.Frozen(means=nullable_boolean), gx.Frozen(means=[True, False, True]))


# A number in each place becomes traced.
@pytest.mark.x32
@every_function
def test_lists_of_traced_numbers(function):
    _, call, a = TAKES[function]
    nested = a.tolist()

    def holding(number):
        if a.ndim == 1:
            return [number, *nested[1:]]
        return [(number, *nested[0][1:]), *map(tuple, nested[1:])]

    number = jnp.asarray(a.flat[0])
    expected = call(a)
    same(jax.jit(lambda n: call(holding(n)))(number), expected, exactly=False)
    same(call(holding(number)), expected)
    total = lambda n: sum(jnp.sum(leaf) for leaf in floats(call(holding(n))))
    _, tangent = jax.jvp(total, (number,), (jnp.ones_like(number),))
    # Two steps are no fixed point: a fit that has not converged has no derivative.
    assert np.isfinite(tangent) or function.startswith("fit")
    if a.ndim == 2:
        rows = lambda a: [a[0], *nested[1:]]
        same(jax.jit(lambda a: call(rows(a)))(a), expected, exactly=False)


def floats(tree):
    return [
        leaf
        for leaf in jax.tree.leaves(tree)
        if jnp.issubdtype(getattr(leaf, "dtype", bool), jnp.floating)
    ]


@pytest.mark.x32
def test_other_lists_of_traced_arrays():
    labels = jnp.asarray(LABELS)
    call = lambda a: GM.from_labels(X, [*a], 3)
    same(jax.jit(call)(labels), call(labels), exactly=False)
    freeze = lambda flag: fit(MIXTURE, X, frozen=gx.Frozen(means=[flag, True, False]))
    flag = jnp.array(True)
    same(jax.jit(freeze)(flag), freeze(flag), exactly=False)
    sets = lambda a: many([X, a * 0.5], sample_weight=[WEIGHTS, WEIGHTS[:30]])
    same(jax.jit(sets)(X[:30]), sets(X[:30]), exactly=False)
    scalar = lambda n: gx.EM(tol=n).tol
    same(jax.jit(scalar)(jnp.float32(0.5)), scalar(jnp.float32(0.5)))
    refused(lambda: jax.jit(lambda n: MIXTURE.log_prob([[n, n], [n]]))(1.0), "x")


@pytest.mark.x64
@every_function
def test_numbers_without_a_type_take_that_of_the_mixture(function):
    _, call, a = TAKES[function]
    expected = call(a)
    assert {leaf.dtype for leaf in floats(expected)} == {np.dtype(np.float32)}
    for nested in (a.tolist(), tuple(map(tuple, a)) if a.ndim == 2 else [*a]):
        if function not in ("from_k_means", "from_labels", "from_precisions"):
            same(call(nested), expected)


@pytest.mark.x64
def test_numbers_with_a_type_keep_it():
    for y in (
        [np.float64(0.5), 0.5],
        HALVES.astype(float),
        [HALVES.astype(float)[0]] * 2,
    ):
        posterior, _ = gx.observe(MIXTURE, 1.0, 0.5, y)
        assert posterior.means.dtype == np.float64
    posterior, _ = gx.observe(MIXTURE, [[1, 0], [0.5, 1]], [1, 0.5], [0, np.float32(1)])
    assert posterior.means.dtype == np.float32
