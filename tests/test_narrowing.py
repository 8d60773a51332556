"""float64 data whose spread float32 cannot hold is refused, and no other."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import gmmx_eqx as gx
from gmmx_eqx.interop.sklearn import GaussianMixture as Estimator


KEY = jr.key(0)


def visits(offset, spread, gap, n_samples=400, n_visits=2, seed=0):
    rng = np.random.default_rng(seed)
    place = rng.integers(n_visits, size=n_samples)
    return (offset + gap * place + spread * rng.normal(size=n_samples))[:, None]


# Offsets, spreads, and gaps between clusters.
LOST = {
    "epoch seconds": (1.7e9, 60, 3600),
    "epoch seconds of days": (1.7e9, 60, 86400),
    "Julian days": (2.46e6, 0.05, 1),
    "epoch milliseconds": (1.7e12, 2e4, 1e7),
    "negative": (-1.7e9, 60, 3600),
    "hardly any": (1e6, 1e-4, 1e-2),
}
KEPT = {
    "UTM metres": (5.4e6, 2, 40),
    "GPS degrees": (52, 2e-5, 1e-3),
    "kelvin": (300, 0.3, 2),
    "about zero": (0, 1e-9, 1e-8),
    "epoch seconds of hours": (1.7e9, 3600, 86400),
}
MIXTURE = gx.GaussianMixture.from_squeezed(
    [[0.0], [1.0]], [1.0, 1.0], [0.5, 0.5], "spherical"
)
FITS = {
    "fit": lambda x: gx.fit(MIXTURE, x),
    "from_k_means": lambda x: gx.GaussianMixture.from_k_means(x, 2, key=KEY),
    "from_initialiser": lambda x: gx.GaussianMixture.from_initialiser(
        gx.RandomPoints(), x, 2, key=KEY
    ),
    "from_labels": lambda x: gx.GaussianMixture.from_labels(x, np.arange(len(x)) % 2),
    "from_responsibilities": lambda x: gx.GaussianMixture.from_responsibilities(
        x, np.ones((len(x), 1))
    ),
    "update_parameters": lambda x: MIXTURE.update_parameters(x, np.ones((len(x), 1))),
    "fit_restarts": lambda x: gx.fit_restarts(x, 2, key=KEY),
    "select": lambda x: gx.select(x, key=KEY),
    "contraction_rate": lambda x: gx.contraction_rate(MIXTURE, x),
    "weighted": lambda x: gx.fit(MIXTURE, x, sample_weight=np.ones(len(x))),
    "a list": lambda x: gx.fit(MIXTURE, x.tolist()),
    "traced": lambda _: jax.jit(lambda y: gx.fit(MIXTURE, DATA + 0 * y.shape[0]))(
        jnp.ones(1)
    ),
}
DATA = visits(*LOST["epoch seconds"])


@pytest.mark.x32
@pytest.mark.parametrize("function", FITS)
def test_what_fits_refuses_data_that_is_lost(function):
    with pytest.raises(ValueError) as caught:
        FITS[function](DATA)
    for text in ("`x`", "feature 0", "1.7e+09", "128", "jax_enable_x64", "mean"):
        assert text in str(caught.value)


@pytest.mark.x32
@pytest.mark.parametrize("n_samples", [40, 400, 6000])
@pytest.mark.parametrize("case", LOST)
def test_lost(case, n_samples):
    start = gx.GaussianMixture.from_labels
    data = visits(*LOST[case], n_samples)
    labels = np.arange(n_samples) % 2
    for x in (data, data.astype(np.longdouble), data.astype(">f8")):
        with pytest.raises(ValueError, match="`x`.*feature 0"):
            start(x, labels)
    # Beside another feature, which is not named.
    x = np.concatenate([np.linspace(0, 1, n_samples)[:, None], data], axis=1)
    with pytest.raises(ValueError, match="`x`.*feature 1"):
        start(x, labels)
    if "epoch" in case:
        with pytest.raises(ValueError, match="`x`.*int64"):
            start(data.astype(np.int64), labels)
        # What was there before it was narrowed is not known any more.
        start(jnp.asarray(data), labels)
    # The remedy.
    start(data - data.mean(), labels)


@pytest.mark.x32
@pytest.mark.parametrize("n_samples", [4, 12, 40, 100, 400, 6000])
@pytest.mark.parametrize("case", KEPT)
def test_kept(case, n_samples):
    for n_visits in (1, 2, 5):
        x = visits(*KEPT[case], n_samples, n_visits)
        gx.GaussianMixture.from_labels(x, np.arange(n_samples) % 2)


@pytest.mark.x32
def test_what_has_no_spread_to_lose():
    rng = np.random.default_rng(0)
    # As computed numbers are, to within a few roundings of their own.
    third = np.full(200, 1e6) / 3 * (1 + 4e-16 * rng.integers(-2, 3, size=200))
    # Many within one spacing of one, but nothing beside the rest.
    saturated = 1 / (1 + np.exp(-15 * rng.normal(size=200)))
    whole = rng.integers(0, 256, size=200)
    for column in (third, saturated, whole, whole * 2**40, np.exp(9 * whole / 256)):
        gx.GaussianMixture.from_labels(column[:, None], np.arange(200) % 2)


@pytest.mark.x32
def test_absent_samples_are_not_looked_at():
    x = np.concatenate([visits(0, 1, 5), DATA])
    weight = np.repeat([1.0, 0.0], 400)
    gx.GaussianMixture.from_labels(x, np.arange(800) % 2, sample_weight=weight)


@pytest.mark.x32
def test_data_sets():
    good = visits(0, 1, 5)
    sets = ([good, DATA], np.stack([good, DATA]), (good.tolist(), DATA[:99]))
    for xs in sets:
        with pytest.raises(ValueError, match=r"`xs\[1\]`.*feature 0"):
            gx.fit_batch(xs, 2, key=KEY)


@pytest.mark.x32
def test_densities_of_given_mixtures_are_computed():
    assert np.all(np.isfinite(gx.univariate.cdf(MIXTURE, DATA[:, 0])))
    assert np.all(np.isfinite(MIXTURE.log_prob(DATA)))


@pytest.mark.x64
def test_float64_holds_it():
    gx.GaussianMixture.from_labels(DATA, np.arange(400) % 2)
    noise = 60 * np.random.default_rng(0).normal(size=400)
    nanoseconds = 17 * 10**17 + noise.astype(np.int64)
    with pytest.raises(ValueError, match="`x` is int64.*float64.*256 apart") as caught:
        gx.GaussianMixture.from_labels(nanoseconds[:, None], np.arange(400) % 2)
    assert "jax_enable_x64" not in str(caught.value)


@pytest.mark.x64
def test_a_float32_mixture_does_not_narrow():
    mixture = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), MIXTURE)
    with pytest.raises(ValueError, match="`x`.*float32"):
        # A list has no type of its own.
        gx.fit(mixture, DATA.tolist())


@pytest.mark.x32
@pytest.mark.parametrize("case", ["epoch seconds", "Julian days"])
def test_estimator(case):
    offset, spread, gap = LOST[case]
    x = visits(*LOST[case], 4000)
    found = Estimator(2, random_state=0, reg_covar=0).fit(x)
    deviations = np.sqrt(found.covariances_[:, 0, 0])
    # Three standard errors of a standard deviation from 1900 samples.
    np.testing.assert_allclose(deviations, spread, rtol=3 / np.sqrt(2 * 1900))
    with pytest.raises(ValueError, match="ill-defined"):
        Estimator(2, random_state=0, reg_covar=0).fit(np.full((50, 1), offset))
