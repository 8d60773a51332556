"""The types of what users hand in, and of what they may hand in instead.

To a type checker they say what is taken, to readers what shape it has. When the program
runs they say nothing: what cannot be right is to be a `ValueError` that names the
argument (see `inputs`), not a `TypeError` of a checker that few users have.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, TYPE_CHECKING, TypeAlias


if TYPE_CHECKING:
    from jaxtyping import PRNGKeyArray
    from numpy.typing import ArrayLike
else:
    ArrayLike = PRNGKeyArray = Any


# A `jax.random` key, of either kind.
KeyLike: TypeAlias = Annotated[PRNGKeyArray, ""]

# Anything that `numpy.asarray` turns into numbers: lists, arrays, data frames.
DataLike: TypeAlias = Annotated[ArrayLike, "batch features"]
SampleWeightLike: TypeAlias = Annotated[ArrayLike, "batch"]
LabelsLike: TypeAlias = Annotated[ArrayLike, "batch"]
ResponsibilitiesLike: TypeAlias = Annotated[ArrayLike, "batch components"]
# Many data sets; a sequence of them need not have the same length.
DataSetsLike: TypeAlias = Annotated[
    ArrayLike | Sequence[ArrayLike], "sets batch features"
]
WeightSetsLike: TypeAlias = Annotated[ArrayLike | Sequence[ArrayLike], "sets batch"]
LabelSetsLike: TypeAlias = Annotated[ArrayLike | Sequence[ArrayLike], "sets batch"]

# Parameters, without the axes of size one.
WeightsLike: TypeAlias = Annotated[ArrayLike, "components"]
MeansLike: TypeAlias = Annotated[ArrayLike, "components features"]
# As the family has them, such as `components features features` for `full`.
CovariancesLike: TypeAlias = Annotated[ArrayLike, "..."]
# All of these by name, and the name of the family.
ParametersLike: TypeAlias = Annotated[Mapping[str, ArrayLike], "..."]
GroupsLike: TypeAlias = Annotated[ArrayLike, "components"]
MaskLike: TypeAlias = Annotated[ArrayLike, "#components"]

# Numbers. They may be traced, so that a sweep does not recompile.
AmountLike: TypeAlias = Annotated[ArrayLike, ""]
CountLike: TypeAlias = Annotated[ArrayLike, ""]

# Arguments of operations. A map may also be `Features` or a lineax operator, and
# features an integer, a slice or `Features`.
MapLike: TypeAlias = Annotated[Any, "outputs features"]
FeaturesLike: TypeAlias = Annotated[Any, "outputs"]
NoiseLike: TypeAlias = Annotated[ArrayLike, "#outputs #outputs"]
# A matrix or a covariance for all samples, or for each; or the indices of features.
MapsLike: TypeAlias = Annotated[Any, "..."]
NoisesLike: TypeAlias = Annotated[ArrayLike, "..."]
# From samples to log-densities.
BackgroundLike: TypeAlias = Annotated[Callable[[Any], ArrayLike], "..."]
VectorLike: TypeAlias = Annotated[ArrayLike, "outputs"]
# Parameters of priors.
FeatureVectorLike: TypeAlias = Annotated[ArrayLike, "features"]
SquareLike: TypeAlias = Annotated[ArrayLike, "features features"]
PointsLike: TypeAlias = Annotated[ArrayLike, "..."]
