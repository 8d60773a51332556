from .abstract import (
    AbstractInitialiser as AbstractInitialiser,
    AbstractPartition as AbstractPartition,
    Partition as Partition,
)
from .hierarchical import Hierarchical as Hierarchical
from .k_means import KMeans as KMeans
from .k_means_plus_plus import KMeansPlusPlus as KMeansPlusPlus
from .labelled_partition import LabelledPartition as LabelledPartition
from .mixed import in_turn as in_turn, Mixed as Mixed
from .random_points import RandomPoints as RandomPoints
from .random_responsibilities import RandomResponsibilities as RandomResponsibilities
from .scaling import Scaling as Scaling
from .seeded_partition import in_place as in_place, seeded as seeded
