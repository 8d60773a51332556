"""Parameters that EM leaves as they are."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool

from .._core import inputs, linalg
from .._core.axes import Axis
from .._core.likes import MaskLike
from .._covariances import as_plain, is_tied, where_components
from .._mixture import GaussianMixture


Mask = Bool[Array, "..."]
_AllMeans = Bool[Array, "1 _ 1 1"]


class Frozen(eqx.Module):
    """Which parameters of a mixture stay exactly as they are.

    Each attribute is one boolean for all components, or one for each, shape
    `(components,)`. They are traced: another choice is the same program, and `vmap`
    can go over them.

    **Attributes:**

    - `weights`: components that are not frozen share what the frozen ones leave, in
        proportion to their samples.
    - `means`: a covariance whose mean is frozen is taken about that mean.
    - `covariances`: one boolean if one covariance serves all components, or if they
        share a part of it, such as a shape.
    """

    weights: Mask
    means: Mask
    covariances: Mask

    def __init__(
        self,
        *,
        weights: MaskLike = False,
        means: MaskLike = False,
        covariances: MaskLike = False,
    ):
        """**Arguments:** booleans, or arrays of booleans.

        **Raises:**

        `ValueError` for what is not boolean.
        """
        self.weights = _as_mask(weights, "weights")
        self.means = _as_mask(means, "means")
        self.covariances = _as_mask(covariances, "covariances")

    def check_free_weights(self) -> None:
        """Raises a `ValueError` if a weight is known to be frozen."""
        mask = inputs.concrete(self.weights)
        if mask is not None and mask.any():
            raise ValueError(
                "`Frozen.weights` cannot be given together with `equal_weights`, which "
                "says what all weights are. Leave one of them out."
            )

    def check(self, mixture: GaussianMixture) -> None:
        """Raises a `ValueError` unless the masks fit the mixture."""
        k = mixture.n_components
        tied, shares = is_tied(mixture.covariances), mixture.covariances.shares_parts
        for name, mask in vars(self).items():
            one = (tied or shares) and name == "covariances"
            expected = ((),) if one else ((), (k,))
            if mask.shape not in expected:
                what = "one covariance serves" if tied else "a part is the same for"
                hint = f"{what} all components"
                raise ValueError(
                    f"`Frozen.{name}` must be one boolean"
                    + (f": {hint}" if len(expected) == 1 else f" or {k}, one each")
                    + f"; got shape {mask.shape}."
                )

    def or_empty(self, mixture: GaussianMixture) -> "Frozen":
        """These, and all parameters of components whose weight is zero."""
        empty = mixture.weights[0, :, 0, 0] == 0
        one = is_tied(mixture.covariances)
        return Frozen(
            weights=self.weights | empty,
            means=self.means | empty,
            covariances=self.covariances if one else self.covariances | empty,
        )

    def pin(
        self, mixture: GaussianMixture, at: GaussianMixture, *, is_whole: bool = True
    ) -> GaussianMixture:
        """The mixture with the frozen parameters of `at`, and with the other weights in
        the same proportions as before.

        In a loss it freezes what gradients would change:
        `frozen.pin(mixture, at).score(x)`.

        **Arguments:**

        - `is_whole`: whether weights sum to one. If not, the rest is a background's,
            and frozen weights are shares of their sum.
        """
        held, weights = column(self.weights), at.weights
        if not is_whole:
            sum_of = lambda m: jnp.sum(m.weights, axis=Axis.components, keepdims=True)
            weights = weights * linalg.safe_divide(sum_of(mixture), sum_of(at))
        new, old = as_plain(mixture.covariances), as_plain(at.covariances)
        # Added up rather than one minus the rest: that would cancel.
        left = jnp.sum(jnp.where(held, 0, weights), Axis.components, keepdims=True)
        free = jnp.where(held, 0, mixture.weights)
        total = jnp.sum(free, axis=Axis.components, keepdims=True)
        share = free * linalg.safe_divide(left, total)
        return GaussianMixture(
            weights=jnp.where(held, weights, share),
            means=jnp.where(column(self.means), at.means, mixture.means),
            covariances=where_components(column(self.covariances), old, new),
        )


def column(mask: Mask) -> _AllMeans:
    """A mask with the axes of [`gmmx_eqx.Axis`][]."""
    return mask.reshape(1, -1, 1, 1)


def _as_mask(value: Any, name: str) -> Mask:
    array = inputs.as_numbers(value, f"Frozen.{name}")
    if array.dtype != bool:
        raise ValueError(
            f"`Frozen.{name}` must be boolean; got {value!r} of dtype {array.dtype}."
        )
    return jnp.asarray(array)
