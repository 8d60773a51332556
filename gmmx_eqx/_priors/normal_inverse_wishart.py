from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._core import inputs
from .._core.aliases import Scalar
from .._core.describe import describe
from .._core.likes import AmountLike, FeatureVectorLike, SquareLike
from .dirichlet import as_positive


class NormalInverseWishart(eqx.Module):
    r"""Distribution of a mean and a covariance: $Σ \sim W^{-1}(Λ, ν)$ and $μ | Σ \sim
    N(m, Σ / κ)$, the same for every component.

    Each family of covariances has its own form of it:

    | family | density of the covariance | M-step |
    |---|---|---|
    | `full` | $W^{-1}(Λ, ν)$ for each component | $(Λ + W_k) / (ν + n_k + D + 2)$ |
    | `tied` | $W^{-1}(Λ, ν)$, once | $(Λ + \sum W_k) / (ν + N + K + D + 1)$ |
    | `diag` | inverse gamma, $ν / 2$ and $Λ_{ii} / 2$, for each variance | $(Λ_{ii} + W_{kii}) / (ν + n_k + 3)$ |
    | `spherical` | inverse gamma, $ν / 2$ and $λ / 2$ with $λ = \operatorname{tr}(Λ) / D$ | $(λ + \operatorname{tr} W_k) / (ν + (n_k + 1) D + 2)$ |
    | any other | that of `full`, or of `diag` if features are independent | as its M-step of $W_k + Λ$ |

    $W_k$ is the scatter of the $n_k$ samples of a component about their mean $\bar x_k$
    plus $\frac{κ n_k}{κ + n_k} (\bar x_k - m)(\bar x_k - m)^T$, and the new mean is
    $(n_k \bar x_k + κ m) / (n_k + κ)$.

    **Attributes:**

    - `mean`: $m$, shape `(features,)`, in the units of the data.
    - `shrinkage`: $κ$, in samples: as many, at $m$, are added to each component.
    - `degrees_of_freedom`: $ν$, greater than `features - 1`.
    - `scale`: $Λ$, shape `(features, features)`, in squared data units.
    - `divided`: whether $K$ components share the scale, so that each has
        $Λ / K^{2 / D}$: ellipsoids of such a size fill as much room together,
        whatever their number. Only components whose weight is not zero are counted.

    ??? cite "Reference"

        Fraley, Raftery (2007), Bayesian Regularization for Normal Mixture Estimation
        and Model-Based Clustering. Journal of Classification 24(2), 155-181.
    """  # noqa: E501

    mean: Float[Array, " features"]
    shrinkage: Scalar
    degrees_of_freedom: Scalar
    scale: Float[Array, "features features"]
    divided: bool = eqx.field(static=True)

    def __init__(
        self,
        mean: FeatureVectorLike,
        shrinkage: AmountLike,
        degrees_of_freedom: AmountLike,
        scale: SquareLike,
        *,
        divided: bool = False,
    ):
        """**Arguments:**

        Those of the attributes. All but `divided` may be traced: a sweep over them is
        one program, and fits have derivatives in them.

        **Raises:**

        `ValueError` if one cannot be right: if a shape does not fit, if `shrinkage` is
        not positive, if there are too few degrees of freedom or if `scale` is not
        symmetric and positive definite.
        """
        mean = inputs.as_float(mean, "mean")
        if mean.ndim != 1 or mean.size == 0:
            raise ValueError(
                f"`mean` must have shape (features,); got shape {mean.shape}."
            )
        inputs.check_finite(mean, "mean")
        self.mean = mean
        self.shrinkage = as_positive(shrinkage, "shrinkage")
        self.degrees_of_freedom = _as_degrees(degrees_of_freedom, mean.size)
        self.scale = _as_scale(scale, mean.size)
        self.divided = divided

    @property
    def n_features(self) -> int:
        """Number of features."""
        return self.mean.shape[0]


def _as_degrees(value: Any, n_features: int) -> Scalar:
    degrees = inputs.as_nonnegative(value, "degrees_of_freedom")
    number = inputs.concrete(degrees)
    if number is not None and number <= n_features - 1:
        raise ValueError(
            f"`degrees_of_freedom` must be greater than {n_features - 1}, one less "
            f"than the number of features: with fewer the distribution does not exist. "
            f"Got {describe(value)}."
        )
    return degrees


def _as_scale(value: Any, n_features: int) -> Float[Array, "features features"]:
    scale = inputs.as_float(value, "scale")
    if scale.shape != (n_features, n_features):
        raise ValueError(
            f"`scale` must have shape {(n_features, n_features)}, since `mean` has "
            f"{n_features} features; got shape {scale.shape}."
        )
    inputs.check_finite(scale, "scale")
    numbers = inputs.concrete(scale)
    if numbers is None:
        return scale
    deviations = np.sqrt(np.maximum(np.diagonal(numbers), 0))
    rounding = 100 * np.finfo(numbers.dtype).eps * np.outer(deviations, deviations)
    if np.any(np.abs(numbers - numbers.T) > rounding):
        raise ValueError(
            "`scale` must be symmetric. Use `(scale + scale.T) / 2` if rounding alone "
            "makes it not so."
        )
    if np.all(deviations > 0):
        correlations = np.float64(numbers) / np.outer(deviations, deviations)
        smallest = float(np.linalg.eigvalsh(correlations)[0])
    else:
        smallest = 0.0
    if not smallest > float(np.finfo(numbers.dtype).eps):
        raise ValueError(
            "`scale` must be positive definite; a feature of it, or a combination of "
            "features, has no variance. Leave constant and dependent features out, or "
            "add to the diagonal."
        )
    return jnp.asarray(scale)
