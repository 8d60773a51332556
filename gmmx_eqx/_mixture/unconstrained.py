from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, UInt

from .._core.aliases import check_array, Means, Values, Weights
from .._core.axes import Axis
from .._covariances import (
    AbstractCholesky,
    AbstractCovariances,
    as_cholesky,
    as_plain,
    constrain,
    divide,
    multiply,
    scale_of,
    unconstrain,
)
from .abstract import AbstractGaussianMixture
from .checks import check_mixture
from .mixture import GaussianMixture


class UnconstrainedMixture(AbstractGaussianMixture):
    r"""A mixture whose parameters may be any numbers, for training by gradients.

    They are what has changed since a reference mixture, in units of its own widths
    divided by $\sqrt{P}$, with $P$ the number of parameters: all are zero at first.
    Near a maximum, a step of $δ$ in each of them costs at most about $δ^2 / 2$ nats per
    sample, whatever the units of the data and the number of features. Weights stay
    positive and sum to one, covariances stay positive definite. A weight of zero stays
    zero, with gradients of zero.

    Densities, samples and so on are those of any mixture, from the Cholesky factors of
    the covariances as they are. They stay finite and keep their digits where the
    covariances themselves, in `mixture`, are singular to working precision.

    **Attributes:**

    - `log_ratios`: of weights to those of the reference, times $\sqrt{P}$, shape
        `(1, components, 1, 1)`. The same number added to all changes nothing.
    - `shifts`: of means, $\sqrt{P} L_0^{-1} (μ - μ_0)$ with $Σ_0 = L_0 L_0^T$, shape
        `(1, components, features, 1)`.
    - `shapes`: of covariances, $\sqrt{P}$ times their
        [`gmmx_eqx.extend.unconstrain`][].
    - `not_trained`: the reference, and its widths. Kept as integers, so that no filter
        for floating-point arrays takes them for parameters: partition a model, and
        initialise an optimiser, with `eqx.is_inexact_array` rather than
        `eqx.is_array`. Averages and casts that go over these integers too are refused
        at the next use.
    """

    log_ratios: Weights
    shifts: Means
    shapes: Values
    not_trained: "_Reference"

    def __check_init__(self) -> None:
        check_array("log_ratios", self.log_ratios, Weights)
        check_array("shifts", self.shifts, Means)
        check_array("shapes", self.shapes, Values)

    @classmethod
    def from_mixture(
        cls,
        mixture: AbstractGaussianMixture,
        reference: GaussianMixture | None = None,
    ) -> "UnconstrainedMixture":
        """The same mixture, to within rounding.

        **Arguments:**

        - `mixture`: one mixture.
        - `reference`: of the same shape and family; `mixture` itself if not given. An
            optimiser's state goes on to make sense if it stays the same.

        **Raises:**

        `NotImplementedError` if the family has no rule; `ValueError` if the reference
        has another shape.
        """
        check_mixture(mixture)
        mixture = GaussianMixture(mixture.weights, mixture.means, mixture.covariances)
        start: GaussianMixture = mixture
        if reference is not None:
            start = _as_held(reference, mixture)
        start = jax.tree.map(lambda a, b: a.astype(b.dtype), start, mixture)
        # No number makes a weight of zero from another one, nor the other way round.
        weights = jnp.where(start.weights > 0, start.weights, mixture.weights)
        weights = jnp.where(mixture.weights > 0, weights, 0)
        start = GaussianMixture(weights, start.means, start.covariances)
        start = jax.lax.stop_gradient(start)
        present = weights > 0
        ratio = jnp.where(present, mixture.weights, 1)
        ratio = ratio / jnp.where(present, start.weights, 1)
        difference = mixture.means - start.means
        units = start.n_parameters**0.5
        return cls(  # pyright: ignore[reportCallIssue]  # what is abstract is a property
            log_ratios=units * jnp.log(ratio),
            shifts=units * divide(scale_of(start.covariances), difference),
            shapes=units * unconstrain(mixture.covariances, start.covariances),
            not_trained=_Reference.of(start),
        )

    @property
    def _means_shape(self) -> tuple[int, ...]:
        return self.shifts.shape

    @property
    def reference(self) -> GaussianMixture:
        """The mixture that the parameters are relative to."""
        return self._reference()[0]

    def _reference(self) -> tuple[GaussianMixture, Values]:
        self.check_one()
        return self.not_trained.decode(self.shifts.dtype)

    @property
    def _unit(self) -> float:
        return self.not_trained.mixture.n_parameters**-0.5

    @property
    def mixture(self) -> GaussianMixture:
        """A plain mixture. What its covariances cannot hold is lost."""
        return GaussianMixture(self.weights, self.means, as_plain(self.covariances))

    @property
    def weights(self) -> Weights:
        start = self.reference.weights
        present = start > 0
        log_ratios = self._unit * self.log_ratios
        masked = jnp.where(present, log_ratios, -jnp.inf)
        top = jnp.max(masked, axis=Axis.components, keepdims=True)
        top = jax.lax.stop_gradient(top)
        # Guarded before the exponential: zero times infinity would be NaN.
        ratios = jnp.exp(jnp.where(present, log_ratios - top, 0))
        weights = start * ratios
        return weights / jnp.sum(weights, axis=Axis.components, keepdims=True)

    @property
    def means(self) -> Means:
        start, widths = self._reference()
        return start.means + multiply(widths, self._unit * self.shifts)

    @property
    def covariances(self) -> AbstractCovariances:
        start, widths = self._reference()
        held = as_cholesky(start.covariances, widths)
        return constrain(held, self._unit * self.shapes)


class _Reference(eqx.Module):
    """A mixture and its widths, a factor of each covariance or its diagonal alone, as
    integers."""

    mixture: GaussianMixture
    # Factorised once, not in every density.
    widths: UInt[Array, "batch=1 _ _ _"]

    @classmethod
    def of(cls, start: GaussianMixture) -> "_Reference":
        widths = scale_of(start.covariances)
        return cls(*jax.tree.map(_as_integers, (start, widths)))

    def decode(self, dtype: jnp.dtype) -> tuple[GaussianMixture, Values]:
        leaves = jax.tree.leaves((self.mixture, self.widths))
        for leaf in leaves:
            if leaf.dtype not in (jnp.uint32, jnp.uint64):
                raise ValueError(
                    "The reference of this `UnconstrainedMixture`, which is not "
                    f"trained, has become {leaf.dtype.name}: an average, a cast or an "
                    "optimiser went over all arrays of the model. Let it go over "
                    "`eqx.is_inexact_array` alone, as in `eqx.partition(model, "
                    "eqx.is_inexact_array)`."
                )
        to_float = lambda leaf: _as_floats(leaf).astype(dtype)
        return jax.tree.map(to_float, (self.mixture, self.widths))


def _as_held(reference: GaussianMixture, mixture: GaussianMixture) -> GaussianMixture:
    """The reference with covariances that are held as those of `mixture` are."""
    covariances = reference.covariances
    if isinstance(mixture.covariances, AbstractCholesky):
        covariances = as_cholesky(covariances)
    else:
        covariances = as_plain(covariances)
    held = GaussianMixture(reference.weights, reference.means, covariances)
    if jax.tree.map(jnp.shape, mixture) != jax.tree.map(jnp.shape, held):
        raise ValueError(
            "`reference` must have the shape and family of `mixture`; got "
            f"{eqx.tree_pformat(reference)} and {eqx.tree_pformat(mixture)}."
        )
    return held


def _as_integers(leaf: Array) -> Array:
    integer = jnp.uint64 if leaf.dtype == jnp.float64 else jnp.uint32
    return jax.lax.bitcast_convert_type(leaf, integer) ^ _bits_of_one(leaf, integer)


def _as_floats(leaf: Array) -> Array:
    dtype = jnp.float64 if leaf.dtype == jnp.uint64 else jnp.float32
    bits = leaf ^ _bits_of_one(leaf, leaf.dtype)
    return jax.lax.bitcast_convert_type(bits, dtype)


def _bits_of_one(leaf: Array, integer: Any) -> Array:
    """The bits of ones or, for square matrices, of the identity. Reversed in the
    integers, so that zeros in their place are a mixture that has a density."""
    *_, rows, columns = leaf.shape
    float_dtype = jnp.float64 if integer == jnp.uint64 else jnp.float32
    is_square = rows == columns
    one = jnp.eye(rows) if is_square else jnp.ones((rows, columns))
    bits = jax.lax.bitcast_convert_type(one.astype(float_dtype), integer)
    return jnp.expand_dims(bits, tuple(range(leaf.ndim - 2)))
