"""A mixture by changes of its free parameters."""

from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from .._core import inputs, linalg
from .._core.known import constant
from .._covariances import contrasts, multiply, scale_of, varied
from .._em import Frozen
from .._mixture import GaussianMixture


Numbers = Float[Array, " parameters"]


class Coordinates(eqx.Module):
    r"""Coordinates of mixtures near a fitted one, which is at zero: as many numbers as
    there are free parameters, without constraints and units.

    First logarithms of weights, in directions that leave their sum; then means, in
    widths of their components; then covariances. Derivatives at zero are all that
    depends on this choice, and where the likelihood is highest its second derivatives
    do not.

    **Attributes:**

    - `mixture`: the one at zero.
    - `free_weights`: which weights are free.
    - `directions`: orthonormal columns, one for each free parameter, of the numbers of
        all parameters, the frozen ones included.
    """

    mixture: GaussianMixture
    free_weights: Bool[Array, " components"]
    directions: Float[Array, "all parameters"]

    @classmethod
    def of(
        cls, mixture: GaussianMixture, frozen: Frozen | None, equal_weights: bool
    ) -> "Coordinates":
        """Without what is frozen, and without weights that are equal.

        **Raises:**

        `ValueError` if it is not known what is frozen.
        """
        k, d = mixture.n_components, mixture.n_features
        names = ("weights", "means", "covariances")
        held: dict[str, np.ndarray] = {name: np.array(False) for name in names}
        # Made here it would not be known inside `jit`.
        masks = {} if frozen is None else vars(frozen)
        for name, mask in masks.items():
            known = inputs.concrete(mask)
            if known is None:
                raise ValueError(
                    "`frozen` must be known here: it says how many parameters are "
                    "free. Do not make it inside `jit` or `vmap`."
                )
            held[name] = np.asarray(known)
        free = ~np.broadcast_to(held["weights"], (k,)) & (not equal_weights)
        weights = np.zeros((k, max(np.sum(free) - 1, 0)))
        if weights.shape[1]:
            weights[free] = contrasts(int(np.sum(free)))
        means = np.repeat(~np.broadcast_to(held["means"], (k,)), d)
        n, mask = mixture.covariances.n_parameters, ~held["covariances"]
        covariances = np.repeat(mask.ravel(), n // mask.size)
        blocks = (weights, np.eye(k * d)[:, means], np.eye(n)[:, covariances])
        directions = _block_diagonal(blocks)
        return cls(mixture, constant(free), constant(directions, mixture.means.dtype))

    @property
    def size(self) -> int:
        """How many free parameters there are."""
        return self.directions.shape[1]

    def chart(self) -> Callable[[Numbers], GaussianMixture]:
        """From coordinates to their mixture. What does not depend on them is computed
        when the chart is made."""
        own = self.mixture
        k, d = own.n_components, own.n_features
        free = self.free_weights[None, :, None, None]
        weights = jnp.where(free, own.weights, 0)
        left = jnp.sum(weights)
        widths = scale_of(own.covariances)
        covariances = varied(own.covariances)

        def at(numbers: Numbers) -> GaussianMixture:
            changes = linalg.matmul(self.directions, numbers[:, None])[:, 0]
            logarithms, shifts, shapes = jnp.split(changes, (k, k + k * d))
            top = jax.lax.stop_gradient(jnp.max(logarithms))
            moved = weights * jnp.exp(logarithms - top)[None, :, None, None]
            moved = moved * linalg.safe_divide(left, jnp.sum(moved))
            return GaussianMixture(
                weights=jnp.where(free, moved, own.weights),
                means=own.means + multiply(widths, shifts.reshape(own.means.shape)),
                covariances=covariances(shapes),
            )

        return at

    @property
    def origin(self) -> Numbers:
        """The coordinates of the fitted mixture."""
        return jnp.zeros(self.size, self.mixture.means.dtype)


def _block_diagonal(blocks: Sequence[np.ndarray]) -> Float[np.ndarray, "all some"]:
    rows, columns = np.sum([block.shape for block in blocks], axis=0)
    joined = np.zeros((rows, columns))
    row = column = 0
    for block in blocks:
        height, width = block.shape
        joined[row : row + height, column : column + width] = block
        row, column = row + height, column + width
    return joined
