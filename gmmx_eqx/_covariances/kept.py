"""Statistics that are kept from one M-step to the next."""

import functools as ft

from .._core import linalg
from .._core.aliases import Statistic
from .abstract import AbstractCovariances
from .full import FullCovariances
from .latent import LatentMoments
from .low_rank import AbstractLowRank


@ft.singledispatch
def as_kept(covariances: AbstractCovariances) -> AbstractCovariances:
    """The same covariances, of a family whose statistic does not depend on them: sums
    for old covariances and for new ones can then be added."""
    return covariances


@as_kept.register(AbstractLowRank)
def _(covariances):
    return FullCovariances(linalg.symmetrise(covariances.dense(covariances.n_features)))


@ft.singledispatch
def statistic_of_kept(covariances: AbstractCovariances, kept: Statistic) -> Statistic:
    """The statistic that an M-step from `covariances` takes, from that of
    `as_kept(covariances)`."""
    del covariances
    return kept


@statistic_of_kept.register(AbstractLowRank)
def _(covariances, kept):
    whitening = covariances.whitening(covariances.n_features)
    regression = whitening.regression
    back = linalg.transpose(regression)
    onto = linalg.matmul(covariances.factors, regression)
    # (I - F β) S, whose columns are those of the rest.
    rest = kept - linalg.matmul(onto, kept)
    by_latent = linalg.matmul(kept, back)
    whole = rest - linalg.matmul(rest, linalg.transpose(onto))
    return LatentMoments(
        latent=linalg.matmul(regression, by_latent),
        cross=linalg.matmul(rest, back),
        rest=whole if covariances.sums_squares else linalg.diagonal_of(whole),
    )
