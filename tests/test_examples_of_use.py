"""The worked examples, on less data, and what their pages claim."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import matplotlib.image
import numpy as np
import pytest
import skimage.data

import gmmx_eqx as gx

from .test_examples import load


# They are written for both worlds, and take as long in each.
pytestmark = pytest.mark.x32


class TestDenoising:
    script = load("denoising")

    def test_patches(self):
        image = np.random.default_rng(0).normal(size=(11, 13)).astype(np.float32)
        patches = np.asarray(jax.jit(self.script.patches_of)(image))
        windows = np.lib.stride_tricks.sliding_window_view(image, (8, 8))
        np.testing.assert_array_equal(patches, windows.reshape(24, 64))
        # Each pixel as often as there are patches with it.
        sum_of = jax.jit(lambda patches: self.script.sum_of(patches, image.shape))
        count, total = sum_of(np.ones_like(patches)), sum_of(patches)
        np.testing.assert_allclose(total, image * count, rtol=1e-6)
        assert count[0, 0] == 1 and count[5, 6] == 24
        coordinates, brightness = self.script.contrast(patches)
        assert coordinates.shape == (24, 63)
        centred = patches - patches.mean(axis=1, keepdims=True)
        energy = np.sum(centred**2, axis=1)
        np.testing.assert_allclose(np.sum(coordinates**2, axis=1), energy, 1e-5)
        again = self.script.pixels(coordinates, brightness)
        np.testing.assert_allclose(again, patches, rtol=0, atol=1e-5)

    def test_a_mixture_is_better_than_the_others(self, tmp_path):
        clean = self.script.grey(skimage.data.camera())[30:110, 80:160]
        noisy = self.script.add_noise(clean)
        images = self.script.training_images()
        assert all(0 <= image.min() < image.max() <= 1 for image in images)
        x = self.script.training_patches(images, 6000)
        solution = self.script.learn(x, n_components=8, max_steps=10)
        restored = self.script.compare(clean, noisy, {"Mixture": solution.mixture})
        quality = {
            name: self.script.psnr(image, clean) for name, image in restored.items()
        }
        assert 20 < quality["Noisy"] < 20.4  # -20 log10(25 / 255) = 20.17
        assert max(quality, key=quality.__getitem__) == "Mixture"
        assert quality["Mixture"] > quality["Wiener filter"] + 1.5
        path = tmp_path / "denoising.png"
        self.script.draw(clean, restored).savefig(path)
        assert matplotlib.image.imread(path).shape[1] > 1000


class TestDensityNetwork:
    script = load("density_network")

    def test_a_mixture_sees_that_there_are_two_kinds_of_eruption(self):
        x, y = self.script.load()
        # Optax counts on JAX's own rules of promotion.
        with jax.numpy_dtype_promotion("standard"):
            score = self.script.cross_validate(x, y, 3, n_folds=2, n_steps=60)
        # A regression with Gaussian errors.
        folds = np.arange(271) * 2 // 271
        log_prob = np.empty(271)
        for fold in (0, 1):
            seen, rest = folds != fold, folds == fold
            line = np.polyfit(x[seen], y[seen], 1)
            variance = np.var(y[seen] - np.polyval(line, x[seen]))
            z = (y[rest] - np.polyval(line, x[rest])) ** 2 / variance
            log_prob[rest] = -0.5 * (z + np.log(2 * np.pi * variance))
        assert score["network"] > log_prob.mean() + 0.3
        assert score["network"] > score["unconditional"] + 0.1

    def test_densities_and_quantiles(self, tmp_path):
        x, y = self.script.load()
        base = gx.GaussianMixture.from_squeezed(
            [[2.0], [4.0]], [[[0.1]], [[0.3]]], [0.4, 0.6]
        )
        network = self.script.DensityNetwork(base, 4, key=jr.key(0))
        # As if it had been trained.
        network = eqx.tree_at(
            lambda n: n.network.layers[-1].weight, network, replace_fn=lambda w: 20 * w
        )
        lengths = jnp.asarray([1.8, 4.5], jnp.float32)
        grid = jnp.linspace(-4, 10, 2801, dtype=jnp.float32)
        p = jax.jit(jax.vmap(lambda v: jnp.exp(network(v).log_prob(grid[:, None]))))
        p = np.asarray(p(lengths), float)
        assert np.abs(p[0] - p[1]).max() > 0.1
        q = np.asarray(self.script.QUANTILES)
        curves = network.quantiles(lengths, jnp.asarray(q, jnp.float32))
        cumulative = np.cumsum((p[:, 1:] + p[:, :-1]) / 2, axis=1) * 14 / 2800
        np.testing.assert_allclose(cumulative[:, -1], 1, rtol=1e-4)
        for row, curve in zip(cumulative, np.asarray(curves), strict=True):
            np.testing.assert_allclose(np.interp(curve, grid[1:], row), q, atol=1e-3)
        path = tmp_path / "density_network.png"
        self.script.draw(x, y, {"one": network, "another": network}).savefig(path)
        assert matplotlib.image.imread(path).shape[1] > 1000


class TestLearnedScaling:
    script = load("learned_scaling")

    def test_learnt_ridges_are_better_than_one_for_all(self, tmp_path):
        x, unseen, names = self.script.load()
        assert x.shape == (120, 13) and unseen.shape == (58, 13)
        folds = self.script.Folds.create(x[:, :6], 2)
        score = eqx.filter_jit(folds.score)
        grid = [float(score(jnp.full(6, jnp.log(f)))) for f in self.script.GRID]
        begin = jnp.full(6, jnp.log(self.script.GRID[int(np.argmax(grid))]))
        with jax.numpy_dtype_promotion("standard"):
            logs, history = self.script.learn(folds, begin, 20)
        np.testing.assert_allclose(history[0], max(grid), rtol=1e-4)
        assert history[-1] > max(grid) + 0.1
        assert float(score(logs)) > max(grid) + 0.1
        path = tmp_path / "learned_scaling.png"
        pairs = np.stack([grid, grid], axis=-1)
        figure = self.script.draw(pairs, (history[-1],) * 2, logs, names[:6])
        figure.savefig(path)
        assert matplotlib.image.imread(path).shape[1] > 1000
