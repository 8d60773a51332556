"""Starts of many fits: random, but for what is given or frozen."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from .._core import linalg
from .._core.aliases import (
    Count,
    Data,
    Labels,
    Means,
    PerFeature,
    SampleWeight,
    Weighting,
    Weights,
)
from .._core.axes import Axis
from .._covariances import AbstractCovariances, FullCovariances, take_components
from .._em import EMStep, Frozen, packed_moments, packing
from .._initialisers import (
    AbstractInitialiser,
    AbstractPartition,
    Hierarchical,
    in_place,
    in_turn,
    LabelledPartition,
    Partition,
    seeded,
)
from .._mixture import as_plain_mixture, GaussianMixture
from .._mixture.estimate import from_moments, moments_of, template_of
from .._moments import Moments
from .._sources import InMemory, Sharded
from .fit_observed import Gathered
from .options import Options
from .solution import moved


class GivenParts(eqx.Module):
    """Parts of every start that are not random, in the units of the data."""

    weights: Weights | None = None
    means: Means | None = None
    covariances: AbstractCovariances | None = None

    def complete(self) -> GaussianMixture | None:
        """A start, if everything is given."""
        if self.weights is None or self.means is None or self.covariances is None:
            return None
        return GaussianMixture(self.weights, self.means, self.covariances)

    def replace(self, start: GaussianMixture) -> GaussianMixture:
        """The start with what is given in the place of its own."""
        own = lambda given, other: other if given is None else given
        return GaussianMixture(
            own(self.weights, start.weights),
            own(self.means, start.means),
            own(self.covariances, start.covariances),
        )


class RandomStarts(eqx.Module):
    """What many fits from random starts have in common.

    **Attributes:**

    - `family`: the covariance family.
    - `n_components`: the number of components of each mixture.
    - `initialiser`: how to start.
    - `options`: the checked options.
    - `width`: how many lanes are computed side by side.
    - `drawn`: samples and weights that starts are made from, where these are not all.
    - `frozen_at`: a mixture with the values of what the options freeze, or `None`.
    - `given`: what is not random.
    - `pools_few_only`: whether only components with few samples begin with a part of
        the covariance within all.
    - `labels`: the component of each sample, -1 where it is not known, or `None`.
    - `drawn_labels`: those of the samples that starts are made from, where these are
        not all.
    - `gathered`: what is fitted, if that is not the data that starts are made of.
    """

    family: Any = eqx.field(static=True)
    n_components: int = eqx.field(static=True)
    initialiser: AbstractInitialiser
    options: Options
    width: int = eqx.field(static=True)
    frozen_at: GaussianMixture | None = None
    given: GivenParts = GivenParts()
    pools_few_only: bool = eqx.field(static=True, default=False)
    gathered: Gathered | None = None
    drawn: tuple[Data, SampleWeight | None] | None = None
    labels: Labels | None = None
    drawn_labels: Labels | None = None

    def source(self, x: Data, weight: Weighting) -> InMemory | Sharded:
        return self._chunked(self.options, x, weight)

    def source_of_draw(self) -> InMemory:
        """Of the samples that starts are made from, where these are not all."""
        assert self.drawn is not None
        options = dataclasses.replace(self.options, spread=None)
        source = self._chunked(options, *self.drawn)
        assert isinstance(source, InMemory)
        return source

    def _chunked(
        self, options: Options, x: Data, weight: Weighting
    ) -> InMemory | Sharded:
        n_features, of_lanes = x.shape[1], self.width > 1
        if isinstance(self.initialiser, Hierarchical):
            # Moments by its labels are residuals of all components at once.
            template = FullCovariances.create(1, n_features)
        else:
            template = self._template(n_features)
        return options.source(x, weight, template, of_lanes=of_lanes)

    def _template(self, n_features: int) -> AbstractCovariances:
        """Covariances of which the family alone counts."""
        return self.family.create(1, n_features)

    def step(self, source: InMemory | Sharded) -> EMStep:
        template = self._template(source.n_features)
        if self.gathered is not None:
            return self.gathered.step(self.options, template)
        return self.options.step(source, template, self.labels)

    def begin(self, step: EMStep, start: GaussianMixture) -> GaussianMixture:
        """What the step iterates, from a start in the units of the data."""
        if self.gathered is not None:
            return self.gathered.start(step, start)
        return moved(start, -step.source.pivot)

    def start(
        self, source: InMemory, key: Any, n_active: Count, turn: Count
    ) -> GaussianMixture:
        """A start in the units of the data. Components beyond `n_active` are empty.
        `turn` counts the starts of one data set."""
        partition = self._partition(source, key, n_active, turn)
        ridge = self.options.start_ridge or self.options.ridge
        parameters = from_moments(
            source,
            *self._moments(source, partition),
            reg_covar=ridge.resolve(source.variances),
            n_pseudo=source.n_features + 1,
            pools_few_only=self.pools_few_only or partition.pools_few_only,
        )
        start = self.given.replace(GaussianMixture(*parameters))
        start = self.options.as_start(start)
        frozen, at = self.options.frozen, self.frozen_at
        if frozen is None or at is None:
            return start
        args = frozen, source.variances, self.labels
        return frozen.pin(_in_order(start, at, *args), at)

    def _moments(
        self, source: InMemory, partition: AbstractPartition
    ) -> tuple[AbstractCovariances, Means, Moments]:
        """As `moments_of`, by packed features if the family has them."""
        given = source, partition, *partition.extras
        template = template_of(self.family, source, self.n_components)
        rule = packing(template, source)
        # A rule may hold sums over all samples, some of which labels leave out.
        if rule is None or isinstance(partition, LabelledPartition):
            return moments_of(self.family, *given)
        return template, *packed_moments(rule, template, *given)

    def _partition(
        self, source: InMemory, key: Any, n_active: Count, turn: Count
    ) -> AbstractPartition:
        if self.n_components > 1:
            initialiser = in_turn(self.initialiser, turn)
            partition = initialiser.partition(
                source, self.n_components, key=key, n_active=n_active
            )
            labels = self.labels if self.drawn is None else self.drawn_labels
            if labels is None:
                return partition
            return seeded(partition, source, source.split(labels), key, turn)
        # Nothing to divide: half of the time to compile a first fit is saved.
        n_features, dtype = source.n_features, source.pivot.dtype
        return Partition(
            scaling=jnp.eye(n_features, dtype=dtype),
            centres=jnp.zeros((1, n_features), dtype),
        )


def _in_order(
    start: GaussianMixture,
    at: GaussianMixture,
    frozen: Frozen,
    variances: PerFeature,
    labels: Labels | None = None,
) -> GaussianMixture:
    """The start with its components in such an order that those whose means get frozen
    are the nearest to these. In any other, what a frozen mean is put in the place of
    would be missing elsewhere. Components that have labels stay where they are."""
    scale = jnp.sqrt(variances)
    ours, theirs = (
        linalg.safe_divide(mixture.means, scale)[0, :, :, 0] for mixture in (start, at)
    )
    distances = jnp.sum((ours[:, None] - theirs[None]) ** 2, axis=2)
    numbers = jnp.arange(len(distances))
    held = jnp.broadcast_to(frozen.means, numbers.shape)
    stays = None
    if labels is not None:
        stays = jnp.any(labels[:, None] == numbers.astype(labels.dtype)[None], axis=0)
    order = in_place(distances, held, stays)
    take = lambda array: jnp.take(array, order, axis=Axis.components)
    covariances = take_components(start.covariances, order)
    return GaussianMixture(take(start.weights), take(start.means), covariances)


def check_frozen_at(
    at: Any,
    frozen: Frozen | None,
    n_components: int,
    n_features: int,
    covariance_type: Any,
) -> GaussianMixture | None:
    """The mixture whose parameters are frozen in every fit.

    **Raises:**

    `ValueError` unless it is one like those that are fitted, and given together with
    `frozen`.
    """
    if frozen is None and at is None:
        return None
    if at is None:
        raise ValueError(
            "`frozen` needs `frozen_at`: a mixture with the values of what is frozen. "
            "Starts are random, and have none to keep."
        )
    if frozen is None:
        raise ValueError(
            "`frozen_at` needs `frozen`, which says what is frozen, such as "
            "`gmmx_eqx.Frozen(means=[True, False])`."
        )
    at = as_plain_mixture(at, "frozen_at")
    like = GaussianMixture.create(n_components, n_features, covariance_type)
    if _kind(at) != _kind(like):
        raise ValueError(
            f"`frozen_at` must be a mixture like those that are fitted, of family "
            f"{str(like.covariances.type)!r}, {n_components} components and "
            f"{n_features} features; got {str(at.covariances.type)!r}, "
            f"{at.n_components} and {at.n_features}."
        )
    frozen.check(at)
    return at


def _kind(mixture: GaussianMixture) -> Any:
    return jax.tree.structure(mixture), [
        leaf.shape for leaf in jax.tree.leaves(mixture)
    ]
