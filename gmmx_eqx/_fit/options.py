"""Options that every way to fit has in common, with one meaning and one check."""

import dataclasses
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._core import inputs
from .._core.aliases import (
    Data,
    Flag,
    Labels,
    PerFeature,
    SampleWeight,
    Weighting,
)
from .._core.describe import check_instance, describe
from .._core.known import is_known
from .._core.likes import AmountLike
from .._core.spread import Spread, spread_of
from .._core.weights import Unit
from .._covariances import AbstractCovariances, is_tied
from .._em import (
    AbstractEM,
    AbstractPasses,
    EM,
    EMStep,
    Frozen,
    InTurn,
    packed_length,
    with_equal_weights,
)
from .._initialisers import AbstractInitialiser, Mixed
from .._mixture import GaussianMixture
from .._priors import AbstractRidge, as_ridge, Prior, Ridge, RidgeLike
from .._sources import draw_spread, InMemory, labels_drawn, Sharded, source_of


# Samples of one chunk for all lanes; a quarter faster with 64 lanes than four times as
# many, which no longer fit in a core's cache.
_CHUNK_OF_LANES = 1024


class Options(eqx.Module):
    """Checked options of a fit, or of many.

    **Attributes:**

    - `ridge`: from `reg_covar`; see [`gmmx_eqx.fit`][].
    - `solver`: a [`gmmx_eqx.extend.AbstractEM`][].
    - `samples_per_chunk`: how many samples to hold intermediate results of at once, or
        `None` for as many as are quick.
    - `resolution`: the step in which each feature was recorded, or `None`.
    - `equal_weights`: whether all components have the same weight.
    - `frozen`: which parameters stay as they are, or `None`.
    - `prior`: of the parameters, or `None`.
    - `start_ridge`: that of random starts, where it is another one.
    - `spread`: how samples are spread over devices, or `None`.
    - `asks_ridge`: whether a ridge was asked for.
    """

    ridge: AbstractRidge
    solver: AbstractEM
    samples_per_chunk: int | None = eqx.field(static=True)
    resolution: Float[Array, "..."] | None
    equal_weights: bool = eqx.field(static=True)
    frozen: Frozen | None
    prior: Prior | None = None
    start_ridge: AbstractRidge | None = None
    spread: Spread | None = eqx.field(static=True, default=None)
    asks_ridge: bool = eqx.field(static=True, default=True)

    # Public functions have these names, annotations and defaults, which a test holds.
    @classmethod
    def create(
        cls,
        n_features: int,
        *,
        reg_covar: RidgeLike = None,
        solver: AbstractEM | None = None,
        samples_per_chunk: int | None = None,
        resolution: AmountLike | None = None,
        equal_weights: bool = False,
        prior: Prior | None = None,
        frozen: Frozen | None = None,
    ) -> "Options":
        """From what users hand in.

        **Raises:**

        `ValueError` for what cannot be right.
        """
        solver = EM() if solver is None else solver
        _check_solver(solver)
        if samples_per_chunk is not None:
            name = "samples_per_chunk"
            samples_per_chunk = inputs.check_count(samples_per_chunk, name)
        if resolution is not None:
            name = "resolution"
            resolution = inputs.as_nonnegative(resolution, name, of_features=True)
            if resolution.shape not in ((), (n_features,)):
                raise ValueError(
                    f"`resolution` must be one number, or {n_features}, one for each "
                    f"feature; got shape {resolution.shape}."
                )
        if frozen is not None:
            check_instance(frozen, Frozen, "frozen", "Frozen(means=True)")
        _check_equal_weights(equal_weights, frozen)
        ridge, start_ridge = as_ridge(reg_covar), None
        if prior is not None:
            check_instance(prior, Prior, "prior", "Prior.from_data(x)")
            prior.check(n_features, equal_weights)
            if reg_covar is None and prior.components is not None:
                # Beside a density it would be a second one of another kind.
                ridge, start_ridge = Ridge(0.0), ridge
        return cls(
            ridge,
            solver,
            samples_per_chunk,
            resolution,
            equal_weights,
            frozen,
            prior,
            start_ridge,
            asks_ridge=reg_covar is not None,
        )

    def slack_beside(self, slack: PerFeature | None) -> PerFeature | None:
        """The slack of a fit, if any: a prior is of covariances, not of those with
        slack."""
        prior = self.prior
        return None if prior is not None and prior.components is not None else slack

    def ridge_beside(
        self, variances: PerFeature, slack: PerFeature | None
    ) -> PerFeature:
        """The ridge of an M-step, shape `(1, 1, features, 1)`.

        **Arguments:**

        - `slack`: of the data, if there is noise.
        """
        ridge = self.ridge.resolve(variances)
        if self.asks_ridge or slack is None:
            return ridge
        # With noise in everything, the likelihood has a bound without a ridge.
        return jnp.where(jnp.all(slack > 0), 0, ridge)

    def check_unit(self, unit: Unit) -> None:
        """Raises a `ValueError` if weights are in such a unit that they cannot be told
        in samples, of which a prior counts some."""
        if self.prior is not None and np.any(unit != 1):
            raise ValueError(
                "`sample_weight` must count samples, since `prior` does; some weights "
                "are too large or too small for that. Divide the weights by their mean."
            )

    def as_start(self, mixture: GaussianMixture) -> GaussianMixture:
        """The mixture with such weights as a fit keeps."""
        return with_equal_weights(mixture) if self.equal_weights else mixture

    def is_resolved(self, mixture: GaussianMixture) -> Flag:
        """Whether every component is wider than rounding alone would make it.

        Numbers recorded in steps of h have a variance of at least h² / 12, also given
        the other features.
        """
        if self.resolution is None:
            return jnp.array(True)
        whitening = mixture.covariances.whitening(mixture.n_features)
        step = self.resolution.reshape(1, 1, -1, 1).astype(mixture.means.dtype)
        # Of each feature given the others. False for NaN.
        wide = whitening.precision_diagonal * step**2 < 12
        return jnp.all(wide | (mixture.weights == 0))

    def spread_like(self, x: Data, key: Any = None) -> "Options":
        """For data on several devices, if it is, and a draw from it by the key is
        possible."""
        spread = spread_of(x) if is_known(key) else None
        return self if spread is None else dataclasses.replace(self, spread=spread)

    def draw(
        self, x: Data, weight: Weighting, key: Any
    ) -> tuple[Data, SampleWeight | None] | None:
        """Samples and weights to make starts from, of data on several devices."""
        if self.spread is None:
            return None
        assert weight is None or weight.ndim
        return draw_spread(x, weight, self.spread, key)

    def draw_labels(self, labels: Labels | None, key: Any) -> Labels | None:
        """Labels of the same samples, if there are any."""
        if self.spread is None or labels is None:
            return None
        return labels_drawn(labels, key)

    def source(
        self,
        x: Data,
        weight: Weighting,
        covariances: AbstractCovariances,
        *,
        of_lanes: bool,
    ) -> InMemory | Sharded:
        """The data in chunks: those of many lanes are smaller. Of `covariances` only
        the family counts."""
        n_packed = packed_length(covariances, x.shape[1])
        if of_lanes and is_tied(covariances):
            # Each lane whitens the samples as well.
            n_packed = None
        largest = _CHUNK_OF_LANES if of_lanes else None
        size = self.samples_per_chunk
        return source_of(x, weight, self.spread, size, n_packed, largest)

    def step(
        self,
        source: InMemory | Sharded,
        covariances: AbstractCovariances,
        labels: Labels | None = None,
    ) -> EMStep:
        """A step of EM; of `covariances` only the family counts."""
        return EMStep.create(
            covariances,
            source,
            self.ridge,
            self.frozen,
            self.equal_weights,
            self.prior,
            labels=None if labels is None else source.split(labels),
        )


def _check_equal_weights(equal_weights: Any, frozen: Frozen | None) -> None:
    """Raises a `ValueError` unless it is `True` or `False`, not an array of it, which
    could not choose a program; and if weights are frozen, too."""
    if not isinstance(equal_weights, bool):
        raise ValueError(
            f"`equal_weights` must be `True` or `False`; got {describe(equal_weights)}."
        )
    if equal_weights and frozen is not None:
        frozen.check_free_weights()


def _check_solver(solver: Any) -> None:
    if isinstance(solver, AbstractPasses | InTurn):
        name = type(solver).__name__
        raise ValueError(
            f"`solver` must be an `AbstractEM`, such as `gmmx_eqx.EM()`; got `{name}`, "
            "which is for `gmmx_eqx.fit`."
        )
    if isinstance(solver, eqx.Module) and not isinstance(solver, AbstractEM):
        raise ValueError(
            "`solver` must be an `AbstractEM`, such as `gmmx_eqx.EM()`; got a "
            f"`{type(solver).__name__}`. Solvers of other libraries, such as "
            "Optimistix, cannot be driven: they compare parameters, not likelihoods."
        )
    check_instance(solver, AbstractEM, "solver", "EM()")


def as_initialiser(initialiser: Any) -> AbstractInitialiser:
    """The initialiser of many starts; [`gmmx_eqx.Mixed`][] if not given."""
    initialiser = Mixed() if initialiser is None else initialiser
    check_instance(initialiser, AbstractInitialiser, "initialiser", "KMeans()")
    return initialiser
