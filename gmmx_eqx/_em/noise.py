"""Rounding of log-likelihoods, as they show it themselves."""

import equinox as eqx
import jax.numpy as jnp

from .._core.aliases import Count, Flag, Scalar


# After so many turns without a gain, only rounding is left: exact steps do not turn.
_MAX_TURNS = 6


class Noise(eqx.Module):
    """The number of turns of the log-likelihood since it was last the highest so far.

    A bound on rounding would have to be that of the worst data: where a covariance is
    singular but for its ridge, log-likelihoods of equal mixtures differ by far more
    than a few roundings of their sum, and by how much depends on the data. But rounding
    goes up and down by turns. Progress does not, nor does a descent towards a ridge.

    **Attributes:**

    - `best`: the highest log-likelihood so far.
    - `change`: the last one.
    - `turns`: since `best`.
    """

    best: Scalar
    change: Scalar
    turns: Count

    @classmethod
    def none(cls, like: Scalar) -> "Noise":
        zero = jnp.zeros_like(like)
        return cls(jnp.full_like(like, -jnp.inf), zero, jnp.array(0))

    def after(self, value: Scalar, change: Scalar, least: Scalar) -> "Noise":
        """That after a step.

        **Arguments:**

        - `value`: the log-likelihood.
        - `change`: its change. Infinite before the first step.
        - `least`: what counts as a gain.
        """
        gained = value > self.best + least
        # Not infinite, which times zero would be a NaN.
        sign = jnp.where(jnp.isfinite(change), jnp.sign(change), 0)
        turned = self.change * sign < 0
        turns = jnp.where(gained, 0, self.turns + turned.astype(int))
        return Noise(jnp.where(gained, value, self.best), sign, turns)

    @property
    def is_all(self) -> Flag:
        """Whether the changes are nothing but rounding."""
        return self.turns >= _MAX_TURNS
