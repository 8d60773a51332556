from typing import TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from .._core.aliases import check_array, Means, Values, Weights
from .._core.axes import Axis
from .._core.cholesky import cholesky
from .._covariances import AbstractCovariances, constrain, factor, unconstrain
from .abstract import AbstractGaussianMixture
from .checks import check_mixture
from .mixture import GaussianMixture


_Tree = TypeVar("_Tree", bound=PyTree)


class UnconstrainedMixture(AbstractGaussianMixture):
    r"""A mixture whose parameters may be any numbers, for training by gradients.

    They are what has changed since a reference mixture, in units of its own widths
    divided by $\sqrt{P}$, with $P$ the number of parameters: all are zero at first.
    Near a maximum, a step of $δ$ in each of them costs at most about $δ^2 / 2$ nats per
    sample, whatever the units of the data and the number of features. Weights stay
    positive and sum to one, covariances stay positive definite. A weight of zero stays
    zero, with gradients of zero.

    Densities, samples and so on are those of any mixture; `mixture` is a plain one.

    **Attributes:**

    - `log_ratios`: of weights to those of the reference, times $\sqrt{P}$, shape
        `(1, components, 1, 1)`. The same number added to all changes nothing.
    - `shifts`: of means, $\sqrt{P} L_0^{-1} (μ - μ_0)$ with $Σ_0 = L_0 L_0^T$, shape
        `(1, components, features, 1)`.
    - `shapes`: of covariances, $\sqrt{P}$ times their [`gmmx_eqx.unconstrain`][].
    - `bits`: the reference. Not a parameter, and kept as integers for that reason: no
        filter for floating-point arrays and no optimiser takes it for one.
    """

    log_ratios: Weights
    shifts: Means
    shapes: Values
    bits: GaussianMixture

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
        start: GaussianMixture = mixture if reference is None else reference
        same = jax.tree.map(jnp.shape, mixture) == jax.tree.map(jnp.shape, start)
        if not same:
            raise ValueError(
                "`reference` must have the shape and family of `mixture`; got "
                f"{start} and {mixture}."
            )
        start = jax.tree.map(lambda a, b: a.astype(b.dtype), start, mixture)
        # No number makes a weight of zero from another one, nor the other way round.
        weights = jnp.where(start.weights > 0, start.weights, mixture.weights)
        weights = jnp.where(mixture.weights > 0, weights, 0)
        start = GaussianMixture(weights, start.means, start.covariances)
        start = jax.lax.stop_gradient(start)
        present = weights > 0
        ratio = jnp.where(present, mixture.weights, 1)
        ratio = ratio / jnp.where(present, start.weights, 1)
        u = start.covariances.precisions_cholesky
        difference = mixture.means - start.means
        units = start.n_parameters**0.5
        return cls(  # pyright: ignore[reportCallIssue]  # what is abstract is a property
            log_ratios=units * jnp.log(ratio),
            shifts=units * factor.whiten(u, difference),
            shapes=units * unconstrain(mixture.covariances, start.covariances),
            bits=_to_bits(start),
        )

    @property
    def _means_shape(self) -> tuple[int, ...]:
        return self.shifts.shape

    @property
    def reference(self) -> GaussianMixture:
        """The mixture that the parameters are relative to."""
        self.check_one()
        return _from_bits(self.bits, self.shifts.dtype)

    @property
    def _unit(self) -> float:
        return self.bits.n_parameters**-0.5

    @property
    def mixture(self) -> GaussianMixture:
        """A plain mixture."""
        return GaussianMixture(self.weights, self.means, self.covariances)

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
        start = self.reference
        covariances = start.covariances
        if factor.is_diagonal(covariances.precisions_cholesky):
            lower = jnp.sqrt(covariances.variances)
        else:
            lower = cholesky(covariances.values_dense)
        return start.means + factor.multiply(lower, self._unit * self.shifts)

    @property
    def covariances(self) -> AbstractCovariances:
        return constrain(self.reference.covariances, self._unit * self.shapes)


def _to_bits(tree: _Tree) -> _Tree:
    def as_integers(leaf: Array) -> Array:
        integer = jnp.uint64 if leaf.dtype == jnp.float64 else jnp.uint32
        return jax.lax.bitcast_convert_type(leaf, integer)

    return jax.tree.map(as_integers, tree)


def _from_bits(tree: _Tree, dtype: jnp.dtype) -> _Tree:
    def as_floats(leaf: Array) -> Array:
        own = jnp.float64 if leaf.dtype == jnp.uint64 else jnp.float32
        return jax.lax.bitcast_convert_type(leaf, own).astype(dtype)

    return jax.tree.map(as_floats, tree)
