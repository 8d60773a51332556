"""The worked examples, on less data, and what their pages claim."""

import jax
import matplotlib.image
import numpy as np
import pytest
import skimage.data

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
        self.script.draw(clean, restored, path)
        assert matplotlib.image.imread(path).shape[1] > 1000
