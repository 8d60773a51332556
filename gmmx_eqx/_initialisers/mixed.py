from typing import Any

import equinox as eqx
import jax.numpy as jnp

from .._core import linalg
from .._core.aliases import Count
from .._core.known import constant, is_known
from .._core.likes import KeyLike
from .._sources import InMemory
from .abstract import AbstractInitialiser, Partition
from .k_means import lloyd, MAX_STEPS, TOL
from .scaling import as_scaling, Scaling, ScalingMatrix
from .seeding import greedy_trials, max_trials, seed


def as_count(turn: Any) -> Count:
    return constant(turn) if is_known(turn) else jnp.asarray(turn)


# Which kind of start it is in turn. As numbers, so that all kinds are one program.
_K_MEANS, _POINTS, _RESPONSIBILITIES = range(3)
_TURNS = (_K_MEANS, _POINTS, _RESPONSIBILITIES, _POINTS)


class Mixed(AbstractInitialiser):
    """Starts of several kinds, in turn: as [`gmmx_eqx.KMeans`][], as
    [`gmmx_eqx.RandomPoints`][], as [`gmmx_eqx.RandomResponsibilities`][] and once more
    as `RandomPoints`.

    Starts of one kind can all lead to one optimum that is not the best. Where many are
    fitted they take turns, the first one by k-means; all kinds are one program.

    **Attributes:**

    - `scaling`: a [`gmmx_eqx.Scaling`][] or its name.
    - `turn`: which kind's turn it is, an integer; zero is k-means.
    """

    scaling: Scaling = eqx.field(
        static=True, converter=as_scaling, default=Scaling.auto
    )
    turn: Count = eqx.field(converter=as_count, default=0)

    def partition_scaled(
        self,
        source: InMemory,
        scaling: ScalingMatrix,
        n_components: int,
        n_active: Count,
        key: KeyLike,
    ) -> Partition:
        kind = jnp.asarray(_TURNS)[self.turn % len(_TURNS)]
        by_distance = kind == _K_MEANS
        points = linalg.matmul(scaling, source.columns)

        def mass_of(distances):
            distinct = (distances > 0).astype(distances.dtype)
            return jnp.where(by_distance, distances, distinct)

        centres = seed(
            points,
            source.weights,
            n_components,
            n_active,
            max_trials(n_components),
            mass_of,
            key,
            n_used=jnp.where(by_distance, greedy_trials(n_active), 1),
        )
        max_steps = jnp.where(by_distance, MAX_STEPS, 0)
        return Partition(
            scaling=scaling,
            centres=lloyd(points, source.weights, centres, max_steps, TOL),
            softness=(kind == _RESPONSIBILITIES).astype(points.dtype),
        )


def in_turn(initialiser: AbstractInitialiser, turn: Count) -> AbstractInitialiser:
    """The initialiser of one of many starts."""
    if isinstance(initialiser, Mixed):
        return Mixed(initialiser.scaling, initialiser.turn + turn)
    return initialiser
