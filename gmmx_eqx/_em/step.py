import enum
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from .._core import inputs
from .._core.aliases import Flag, Means, PerFeature, Pivot, Scalar
from .._covariances import AbstractCovariances, AbstractWhitening
from .._mixture import GaussianMixture
from .._priors import AbstractRidge
from .._sources import AbstractSource
from .choice import fast_kernels, FastKernel
from .frozen import Frozen
from .guard import amplification, is_accurate
from .maximisation import has_collapsed, maximise
from .packings import AbstractPacking, packing
from .residual import expect, Expectation


# The first pivot can be far from the new means, the second is within rounding of them.
_MAX_ATTEMPTS = 3


class Kernel(enum.StrEnum):
    """How the E-step computes moments.

    - `auto`: `packed`, or the split or the wide kernel, where they are accurate, and
        `residual` in the steps where they are not.
    - `packed`: two matrix products per chunk, whatever the accuracy.
    - `residual`: about each component's own mean.
    """

    auto = "auto"
    packed = "packed"
    residual = "residual"


class StepInfo(eqx.Module):
    """What a step of EM found out beside the new mixture.

    **Attributes:**

    - `log_likelihood`: of the mixture before the step, in nats, summed over samples.
    - `total_weight`: of the samples.
    - `collapsed`: whether a component of the new mixture has collapsed.
    - `residual`: whether the residual kernel was used.
    """

    log_likelihood: Scalar
    total_weight: Scalar
    collapsed: Flag
    residual: Flag


class EMStep(eqx.Module):
    """One step of expectation-maximisation, as a function of the mixture.

    **Attributes:**

    - `source`: the data. Mixtures are about its pivot.
    - `packing`: the rule of the packed kernel, or `None` for the residual kernel alone.
    - `reg_covar`: added to the diagonal, shape `(1, 1, features, 1)`.
    - `guarded`: whether packed results are checked and done again where inaccurate.
    - `frozen`: which parameters stay as they are, or `None`.
    """

    source: AbstractSource
    packing: AbstractPacking | None
    reg_covar: PerFeature
    guarded: bool = eqx.field(static=True, default=True)
    frozen: Frozen | None = None

    @classmethod
    def create(
        cls,
        covariances: AbstractCovariances,
        source: AbstractSource,
        ridge: AbstractRidge,
        kernel: str = Kernel.auto,
        frozen: Frozen | None = None,
    ) -> "EMStep":
        """The step for a family and its data.

        **Arguments:**

        - `covariances`: only their family counts.
        - `source`: the data.
        - `ridge`: a [`gmmx_eqx.AbstractRidge`][].
        - `kernel`: a [`gmmx_eqx.Kernel`][] or its name. A family without a packing rule
            always uses the residual kernel.
        - `frozen`: a [`gmmx_eqx.Frozen`][].
        """
        kernel = inputs.as_option(Kernel, kernel, "kernel")
        rule = None if kernel == Kernel.residual else packing(covariances, source)
        return cls(
            source=source,
            packing=rule,
            reg_covar=ridge.resolve(source.variances),
            guarded=rule is None or kernel != Kernel.packed,
            frozen=frozen,
        )

    def __call__(
        self, mixture: GaussianMixture, args: Any = None
    ) -> tuple[GaussianMixture, StepInfo]:
        del args
        zero = jnp.zeros((), mixture.means.dtype)
        whitening = mixture.covariances.whitening(mixture.n_features)
        attempt = _Attempt(mixture, whitening, zero, mixture.means, jnp.array(False))
        if self.packing is not None:
            attempt = self._fast(attempt, self.packing)
        final = self._refine(mixture, whitening, attempt) if self.guarded else attempt
        info = StepInfo(
            log_likelihood=final.log_likelihood,
            total_weight=self.source.total,
            collapsed=has_collapsed(
                final.mixture,
                final.whitening,
                mixture,
                self.source.resolution,
                self.frozen,
            ),
            residual=~attempt.accurate if self.guarded else jnp.array(False),
        )
        return final.mixture, info

    def _maximise(
        self, expectation: Expectation, mixture: GaussianMixture, pivot: Pivot
    ) -> GaussianMixture:
        return maximise(
            expectation.moments, mixture, pivot, self.reg_covar, self.frozen
        )

    def _fast(self, start: "_Attempt", packing: AbstractPacking) -> "_Attempt":
        """By the first of the fast kernels that is accurate. There may be none."""
        mixture, whitening = start.mixture, start.whitening
        kernels = fast_kernels(mixture, self.source, packing, whitening, self.guarded)
        if not self.guarded:
            return self._by(kernels[0], mixture)
        attempt = start
        for kernel in kernels:
            good = kernel.is_accurate(mixture, whitening)
            # A loop that runs once or not at all, rather than a condition: under `vmap`
            # a condition would copy the data, and its features, for every lane.
            attempt, _ = jax.lax.while_loop(
                lambda carry: carry[1],
                lambda _, kernel=kernel: (self._by(kernel, mixture), jnp.array(False)),
                (attempt, ~attempt.accurate & good),
            )
        return attempt

    def _by(self, kernel: FastKernel, mixture: GaussianMixture) -> "_Attempt":
        expectation = kernel.run()
        new = self._maximise(expectation, mixture, kernel.pivot)
        whitening = new.covariances.whitening(new.n_features)
        # The new means are the best pivot there is, should this have to be done again.
        finite = jnp.all(jnp.isfinite(new.means))
        return _Attempt(
            mixture=new,
            whitening=whitening,
            log_likelihood=expectation.log_likelihood,
            pivot=jnp.where(finite, new.means, mixture.means),
            accurate=kernel.is_accurate(new, whitening),
        )

    def _refine(
        self,
        mixture: GaussianMixture,
        whitening: AbstractWhitening,
        attempt: "_Attempt",
    ) -> "_Attempt":
        """The attempt, or if it is not accurate, residuals about ever better pivots."""

        # A loop that may run zero times, rather than a condition: under `vmap` a
        # condition computes both of its branches for every lane, a loop stops when no
        # lane needs it.
        def wanting(carry):
            attempt, n_attempts = carry
            return ~attempt.accurate & (n_attempts < _MAX_ATTEMPTS)

        def again(carry):
            # Tied to the carry: what does not change XLA computes before the loop, even
            # if the loop then runs zero times.
            carry, still, factorised, source = jax.lax.optimization_barrier(
                (carry, mixture, whitening, self.source)
            )
            attempt, n_attempts = carry
            pivot = attempt.pivot
            expectation = expect(still, source, pivot, factorised)
            new = self._maximise(expectation, still, pivot)
            new_whitening = new.covariances.whitening(new.n_features)
            lost = amplification(new, new.means - pivot, new_whitening)
            least = amplification(new, jnp.zeros_like(pivot), new_whitening)
            new_attempt = _Attempt(
                mixture=new,
                whitening=new_whitening,
                log_likelihood=expectation.log_likelihood,
                pivot=new.means,
                # Neither a NaN nor what correlation loses gets better.
                accurate=is_accurate(lost) | ~(lost > 2 * least),
            )
            return new_attempt, n_attempts + 1

        attempt, _ = jax.lax.while_loop(wanting, again, (attempt, jnp.array(0)))
        return attempt


class _Attempt(eqx.Module):
    mixture: GaussianMixture
    # Of its covariances: computed once for all that need it.
    whitening: AbstractWhitening
    log_likelihood: Scalar
    pivot: Means
    accurate: Flag
