"""The array types of the library, and the checks that are always on."""

from typing import Any, TYPE_CHECKING, TypeAlias

import numpy as np
from jaxtyping import Array, Bool, Float, Int, jaxtyped, PyTree, Real

from .describe import describe
from .likes import PointsLike


# What users hand in.
Data: TypeAlias = Float[Array, "batch features"]
SampleWeight: TypeAlias = Float[Array, " batch"]
Labels: TypeAlias = Int[Array, " batch"]

# What users get back.
PerDatum: TypeAlias = Float[Array, " batch"]
PerDatumComponent: TypeAlias = Float[Array, "batch components"]
Scalar: TypeAlias = Float[Array, ""]
Count: TypeAlias = Int[Array, ""]
Flag: TypeAlias = Bool[Array, ""]
# Which samples count: a weight for each; or how many, the first ones, each with weight
# one; or, if there is nothing to say, all.
Weighting: TypeAlias = SampleWeight | Count | None
ScalarLike: TypeAlias = float | int | Real[Array, ""]

# Inside, every array has the four axes of `Axis`.
Samples: TypeAlias = Float[Array, "batch components=1 features features_covar=1"]
Residuals: TypeAlias = Float[Array, "batch _ features features_covar=1"]
PerSample: TypeAlias = Float[Array, "batch components features=1 features_covar=1"]
PerSampleTotal: TypeAlias = Float[
    Array, "batch components=1 features=1 features_covar=1"
]
# Samples on the first axis or, as columns, on the last.
LogDensity: TypeAlias = Float[Array, "batch components features=1 features_covar"]
LogDensityTotal: TypeAlias = Float[
    Array, "batch components=1 features=1 features_covar"
]
# As columns alone.
PerColumn: TypeAlias = Float[Array, "batch=1 components features=1 features_covar"]
SampleLabels: TypeAlias = Int[Array, "batch components=1 features=1 features_covar=1"]
Weights: TypeAlias = Float[Array, "batch=1 components features=1 features_covar=1"]
PerComponentFlag: TypeAlias = Bool[
    Array, "batch=1 components features=1 features_covar=1"
]
Means: TypeAlias = Float[Array, "batch=1 components features features_covar=1"]
PerFeature: TypeAlias = Float[Array, "batch=1 components=1 features features_covar=1"]
Pivot: TypeAlias = Float[Array, "batch=1 _ features features_covar=1"]
Values: TypeAlias = Float[Array, "batch=1 _ _ _"]
# Sums over samples, in the form that a covariance family needs.
if TYPE_CHECKING:
    # No type checker knows the leaves of a PyTree.
    Statistic: TypeAlias = Any
    # What functions of a mixture return.
    Arrays: TypeAlias = Any
else:
    Statistic = PyTree[Float[Array, "batch=1 _ _ _"]]
    Arrays = PyTree[Float[Array, "..."]]
FullValues: TypeAlias = Float[
    Array, "batch=1 components features features_covar=features"
]
TiedValues: TypeAlias = Float[
    Array, "batch=1 components=1 features features_covar=features"
]
SquareValues: TypeAlias = Float[Array, "batch=1 _ features features_covar=features"]
DiagValues: TypeAlias = Float[Array, "batch=1 components features features_covar=1"]
SphericalValues: TypeAlias = Float[
    Array, "batch=1 components features=1 features_covar=1"
]

# The layout that feeds the matrix multiply: samples are columns.
Columns: TypeAlias = Float[Array, "features batch"]
ColumnWeights: TypeAlias = Float[Array, " batch"]
ColumnLabels: TypeAlias = Int[Array, " batch"]
Rows: TypeAlias = Float[Array, "components batch"]


def check_array(name: str, value: Any, annotation: Any) -> None:
    """Raises a `ValueError` unless `value` matches the jaxtyping `annotation`."""
    # A fresh scope: otherwise our axis names would be compared against those of any
    # `jaxtyped` function that happens to be calling us and also says "features".
    with jaxtyped("context"):
        if isinstance(value, annotation):
            return
    raise ValueError(
        f'`{name}` must be `{annotation.dtype.__name__}[Array, "{annotation.dim_str}"]`'
        f", a JAX array; got {describe(value, most_numbers=-1)}."
    )


def check_shape(array: PointsLike, expected: tuple[int | None, ...]) -> None:
    """Checks the shape of an array.

    **Arguments:**

    - `array`: anything with a shape.
    - `expected`: the sizes to match; `None` matches any size.

    **Raises:**

    `ValueError`, showing both shapes, if they differ.
    """
    shape = np.shape(array)
    matches = len(shape) == len(expected) and all(
        want is None or want == got for want, got in zip(expected, shape, strict=True)
    )
    if not matches:
        raise ValueError(f"Expected shape {expected}, got {shape}.")
