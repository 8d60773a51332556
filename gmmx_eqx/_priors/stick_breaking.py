import equinox as eqx

from .._core.aliases import Scalar
from .._core.likes import AmountLike
from .dirichlet import as_positive


class StickBreaking(eqx.Module):
    r"""Weights of a Dirichlet process: $w_k = v_k \prod_{j < k} (1 - v_j)$ with $v_k
    \sim \operatorname{Beta}(1, γ)$, for any number of components.

    A variational fit has some of them, and says that no sample is from any other. The
    smaller $γ$, the fewer components have most of the weight.

    **Attributes:**

    - `concentration`: $γ$, a scalar.

    ??? cite "Reference"

        Blei, Jordan (2006), Variational Inference for Dirichlet Process Mixtures.
        Bayesian Analysis 1(1), 121-144.
    """

    concentration: Scalar

    def __init__(self, concentration: AmountLike):
        """**Arguments** and **errors:** as for [`gmmx_eqx.Dirichlet`][]."""
        self.concentration = as_positive(concentration, "concentration")
