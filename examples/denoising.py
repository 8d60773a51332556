"""Takes noise off a photograph with a mixture that has learnt how patches look.

The prior is a mixture of full covariances over patches of 8x8 pixels of other
photographs; the image is the one whose patches are all likely under it, by the
half-quadratic splitting of Zoran and Weiss (2011), From learning models of natural
image patches to whole image restoration. ICCV, 479-486.
"""

import time
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import matplotlib.pyplot as plt
import numpy as np
import scipy.linalg
import scipy.signal
import skimage.data
import skimage.restoration
import sklearn.datasets
from _picture import save
from jaxtyping import Array, Float
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

import gmmx_eqx as gx


SIDE = 8
N_PIXELS = SIDE**2
# Grey values go from 0 to 1.
SIGMA = 25 / 255
# How strongly the image is tied to its denoised patches, times the noise's precision.
TIES = (1.0, 4.0, 8.0, 16.0, 32.0)

Image = Float[Array, "height width"]
Patches = Float[Array, "n_patches pixels"]


def grey(rgb: Any) -> np.ndarray:
    """Luminance at half the resolution, shape (height, width), from 0 to 1."""
    weights = np.array([0.299, 0.587, 0.114])
    full = np.asarray(rgb) @ weights if np.ndim(rgb) == 3 else np.asarray(rgb)
    height, width = full.shape[0] // 2, full.shape[1] // 2
    blocks = full[: 2 * height, : 2 * width].reshape(height, 2, width, 2)
    return (blocks.mean(axis=(1, 3)) / 255).astype(np.float32)


def training_images() -> list[np.ndarray]:
    photographs = [
        *sklearn.datasets.load_sample_images().images,  # a temple and a flower
        skimage.data.chelsea(),
        skimage.data.coffee(),
        skimage.data.coins(),
        skimage.data.rocket(),
    ]
    return [grey(photograph) for photograph in photographs]


def patches_of(image: Image) -> Patches:
    """All overlapping patches, row by row."""
    height, width = image.shape[0] - SIDE + 1, image.shape[1] - SIDE + 1
    corners = [(i, j) for i in range(SIDE) for j in range(SIDE)]
    shifted = [image[i : i + height, j : j + width].ravel() for i, j in corners]
    return jnp.stack(shifted, axis=-1)


def sum_of(patches: Patches, shape: tuple[int, ...]) -> Image:
    """Every patch added where it is from: the transpose of `patches_of`."""
    template = jax.ShapeDtypeStruct(shape, patches.dtype)
    (image,) = jax.linear_transpose(patches_of, template)(patches)
    return image


def contrast(patches: Patches) -> tuple[Patches, Patches]:
    """What is left of patches without their brightness, and the brightness.

    Coordinates in an orthonormal basis of what has mean zero, shape (n_patches, 63):
    white noise stays white, and covariances are not singular.
    """
    brightness = jnp.mean(patches, axis=-1, keepdims=True)
    basis = jnp.asarray(scipy.linalg.helmert(N_PIXELS), patches.dtype)
    return (patches - brightness) @ basis.T, brightness


def pixels(coordinates: Patches, brightness: Patches) -> Patches:
    """The inverse of `contrast`."""
    basis = jnp.asarray(scipy.linalg.helmert(N_PIXELS), coordinates.dtype)
    return coordinates @ basis + brightness


def training_patches(images: list[np.ndarray], n_patches: int) -> Patches:
    """As many patches from each image, at random places."""
    rng = np.random.default_rng(0)
    drawn = []
    for image in images:
        windows = np.lib.stride_tricks.sliding_window_view(image, (SIDE, SIDE))
        patches = windows.reshape(-1, N_PIXELS)
        drawn.append(rng.choice(patches, n_patches // len(images), replace=False))
    return contrast(jnp.asarray(np.concatenate(drawn)))[0]


def learn(x: Patches, n_components: int, max_steps: int) -> gx.Solution:
    """The prior. What rounding to whole grey levels adds keeps covariances regular."""
    ridge = 1 / 12 / 255**2
    start = gx.GaussianMixture.from_k_means(
        x, n_components, key=jr.key(0), reg_covar=ridge
    )
    # A patch has 63 coordinates: its log-density is a large number.
    solver = gx.EM(tol=0.02, max_steps=max_steps)
    return gx.fit(start, x, reg_covar=ridge, solver=solver, throw=False)


class Denoiser(eqx.Module):
    """An image whose patches are likely, near the one that is given."""

    prior: gx.GaussianMixture
    ties: tuple[float, ...] = eqx.field(static=True, default=TIES)

    @eqx.filter_jit
    def __call__(self, noisy: Image, sigma: Float[Array, ""]) -> Image:
        cover = sum_of(patches_of(jnp.ones_like(noisy)), noisy.shape)

        def step(image: Image, tie: Float[Array, ""]) -> tuple[Image, None]:
            coordinates, brightness = contrast(patches_of(image))
            clean = gx.denoise(self.prior, coordinates, sigma**2 / tie)
            # Fewer patches cover a pixel near the edge. They count as much as others.
            mean = sum_of(pixels(clean, brightness), noisy.shape) / cover
            return (noisy + tie * mean) / (1 + tie), None

        return jax.lax.scan(step, noisy, jnp.asarray(self.ties, noisy.dtype))[0]


def psnr(image: Any, clean: Any) -> float:
    """The peak signal-to-noise ratio in dB."""
    error = np.asarray(image, float) - np.asarray(clean, float)
    return float(-10 * np.log10(np.mean(error**2)))


def add_noise(clean: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(1).normal(size=clean.shape)
    return (clean + SIGMA * noise).astype(np.float32)


def compare(
    clean: np.ndarray, noisy: np.ndarray, priors: dict[str, gx.GaussianMixture]
) -> dict[str, np.ndarray]:
    """The image restored in many ways. All are told how strong the noise is, and of
    each of the classical ones the setting is used that is best for this very image."""
    best = lambda images: max(images, key=lambda image: psnr(image, clean))
    wiener = [scipy.signal.wiener(noisy, k, SIGMA**2) for k in (3, 5, 7)]
    variation = [
        skimage.restoration.denoise_tv_chambolle(noisy, weight)
        for weight in (0.06, 0.08, 0.1, 0.12)
    ]
    options: Any = {"patch_size": 5, "patch_distance": 10, "sigma": SIGMA}
    means = [
        skimage.restoration.denoise_nl_means(noisy, h=h * SIGMA, **options)
        for h in (0.5, 0.6, 0.7, 0.8)
    ]
    restored = {"Noisy": noisy, "Wiener filter": best(wiener)}
    restored |= {"Total variation": best(variation), "Non-local means": best(means)}
    sigma = jnp.asarray(SIGMA, jnp.float32)
    for name, prior in priors.items():
        restored[name] = np.asarray(Denoiser(prior)(jnp.asarray(noisy), sigma))
    return restored


def draw(clean: np.ndarray, restored: dict[str, np.ndarray]) -> Figure:
    """Whole images above, a detail of each below."""
    panels = {"Clean": clean, **restored}
    height, width = clean.shape
    top, left, size = int(0.12 * height), int(0.34 * width), int(0.34 * height)
    size_in_inches = (2.2 * len(panels), 4.9)
    figure, rows = plt.subplots(2, len(panels), squeeze=False, figsize=size_in_inches)
    style: Any = {"cmap": "gray", "vmin": 0, "vmax": 1}
    for column, (name, image) in zip(rows.T, panels.items(), strict=True):
        detail = image[top : top + size, left : left + size]
        for axes, part in zip(column, (image, detail), strict=True):
            axes.imshow(part, interpolation="nearest", **style)
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
        quality = "" if name == "Clean" else f"\n{psnr(image, clean):.2f} dB"
        column[0].set_title(f"{name}{quality}")
    edge: Any = {"fill": False, "ec": "#E69F00", "lw": 2}
    from_corner = (left - 0.5, top - 0.5)
    for axes in rows[0]:
        axes.add_patch(Rectangle(from_corner, size, size, **edge))
    return figure


def main() -> None:
    images = training_images()
    x = training_patches(images, 60_000)
    begin = time.perf_counter()
    solution = learn(x, n_components=64, max_steps=60)
    prior = jax.block_until_ready(solution.mixture)
    seconds = time.perf_counter() - begin
    print(f"{len(x)} patches of {len(images)} photographs, 64 components:")
    print(f"learnt in {seconds:.0f} s and {solution.n_steps} steps of EM.")
    priors = {"One Gaussian": learn(x, 1, 10).mixture, "Mixture": prior}
    tests = {"camera": skimage.data.camera(), "astronaut": skimage.data.astronaut()}
    for name, photograph in tests.items():
        clean = grey(photograph)
        noisy = add_noise(clean)
        restored = compare(clean, noisy, priors)
        print(f"\n{name}, {clean.shape[0]} x {clean.shape[1]} pixels")
        for method, image in restored.items():
            print(f"  {method:16s} {psnr(image, clean):6.2f} dB")
        begin = time.perf_counter()
        arguments = (jnp.asarray(noisy), jnp.asarray(SIGMA, jnp.float32))
        jax.block_until_ready(Denoiser(prior)(*arguments))
        print(f"  the mixture took {time.perf_counter() - begin:.1f} s")
        if name == "camera":
            shown = ("Noisy", "Wiener filter", "Mixture")
            save(draw(clean, {method: restored[method] for method in shown}))


if __name__ == "__main__":
    main()
