"""A mixture as a distribution of FlowJAX."""

from typing import Any, ClassVar

import equinox as eqx

from .._core.aliases import Scalar
from .._mixture import AbstractGaussianMixture, check_mixture, GaussianMixture
from . import points
from .points import Point


try:
    import paramax
    from flowjax.distributions import AbstractDistribution
except ImportError as _error:
    raise ImportError(
        "This needs FlowJAX, which is an optional extra: "
        '`pip install "gmmx_eqx[flowjax]"`.'
    ) from _error


class MixtureDistribution(AbstractDistribution):
    """A `flowjax.distributions.AbstractDistribution` of the points of a mixture: the
    base of a flow, say.

    Trained together with the flow if the mixture is a
    [`gmmx_eqx.UnconstrainedMixture`][]. A plain [`gmmx_eqx.GaussianMixture`][] is not
    trained: gradients would take its weights off the simplex, and the "density" would
    no longer integrate to one.

    **Attributes:**

    - `mixture`: the mixture, of any kind. The arrays of a plain one are
        `paramax.NonTrainable`; `paramax.unwrap` gives them back.
    - `shape`: `(n_features,)`.
    """

    mixture: AbstractGaussianMixture
    shape: tuple[int, ...] = eqx.field(static=True)
    cond_shape: ClassVar[None] = None

    def __init__(self, mixture: AbstractGaussianMixture):
        check_mixture(mixture)
        is_plain = isinstance(mixture, GaussianMixture)
        self.mixture = paramax.non_trainable(mixture) if is_plain else mixture
        # Not a property: arrays that are not to be trained are hidden from it.
        self.shape = (mixture.n_features,)

    def _log_prob(self, x: Point, condition: Any = None) -> Scalar:
        del condition
        return points.log_prob(self.mixture, x)

    def _sample(self, key: Any, condition: Any = None) -> Point:
        del condition
        return points.sample(self.mixture, key)
