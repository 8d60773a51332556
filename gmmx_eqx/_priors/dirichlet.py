from typing import Any

import equinox as eqx
import numpy as np

from .._core import inputs
from .._core.aliases import Scalar
from .._core.likes import AmountLike


class Dirichlet(eqx.Module):
    r"""Symmetric Dirichlet distribution of the weights, $p(w) \propto \prod_k w_k^{α -
    1}$.

    In a fit with a [`gmmx_eqx.Prior`][] it adds $α - 1$ samples to the count of every
    component: more than one draws the weights together. With less than one the density
    has no bound; a component of fewer than $1 - α$ samples then gets a weight of zero
    and takes no further part, unless it is the largest.

    **Attributes:**

    - `concentration`: $α$, a scalar.
    """

    concentration: Scalar

    def __init__(self, concentration: AmountLike):
        """**Arguments:**

        - `concentration`: a number or a scalar array, which may be traced.

        **Raises:**

        `ValueError` unless it is positive and finite.
        """
        self.concentration = as_positive(concentration, "concentration")


def as_positive(value: Any, name: str) -> Scalar:
    """A finite scalar greater than zero, as an array so that sweeps do not
    recompile."""
    array = inputs.as_nonnegative(value, name)
    number = inputs.concrete(array)
    if number is not None and not np.all(number > 0):
        raise ValueError(f"`{name}` must be greater than zero; got {value!r}.")
    return array
