"""E-steps: from a mixture and data to moments."""

import abc

import equinox as eqx

from .._core.aliases import PerComponentFlag, PerFeature, Pivot, Scalar
from .._covariances import AbstractWhitening
from .._mixture import GaussianMixture
from .._moments import Moments
from .._sources import AbstractFacts


class Expectation(eqx.Module):
    """What EM needs to know about the data. Adds over chunks and devices.

    **Attributes:**

    - `moments`: a [`gmmx_eqx.extend.Moments`][].
    - `log_likelihood`: of the mixture that was given, in nats, summed over samples.
    """

    moments: Moments
    log_likelihood: Scalar


class AbstractEStep(eqx.Module):
    """E-step of a source of data. The derivatives of a fit use it too.

    **Attributes:**

    - `source`: the data. Mixtures are about its pivot.
    - `slack`: variances that covariances may not be less than, shape
        `(1, 1, features, 1)`, or `None`.
    """

    source: eqx.AbstractVar[AbstractFacts]
    slack: eqx.AbstractVar[PerFeature | None]

    @property
    @abc.abstractmethod
    def is_exact(self) -> bool:
        """Whether moments are about the given pivots in any case: there is no faster
        way for components whose errors it would hardly change."""

    @property
    @abc.abstractmethod
    def counted(self) -> Scalar | None:
        """The weight of which the components' weights are shares, where samples may
        also belong to none of them; `None` if they may not."""

    @abc.abstractmethod
    def expect(
        self,
        mixture: GaussianMixture,
        whitening: AbstractWhitening,
        pivot: Pivot,
        is_near: PerComponentFlag | None = None,
    ) -> Expectation:
        """Moments of the samples, weighted with their responsibilities.

        **Arguments:**

        - `mixture`: the current estimate, about the source's own pivot.
        - `whitening`: its factorised covariances.
        - `pivot`: the point that each component's moments are taken about, shape
            `(1, components, features, 1)`. Rounding errors grow with the square of its
            distance from the new mean, in widths.
        - `is_near`: which components have moments about `pivot`; those of the others
            are about the source's pivot. All if not given; then it can be
            differentiated in reverse.
        """
