"""The types of what estimators are made with, and of the data they take."""

from typing import Any, TYPE_CHECKING

import numpy as np

from ..._initialisers import AbstractInitialiser
from ..._priors import AbstractRidge


if TYPE_CHECKING:
    Integer = int | np.integer
    Number = float | np.number
    Switch = bool | np.bool_
    Text = str
    Start = AbstractInitialiser | str
    Ridge = AbstractRidge | float | np.number
else:
    # As scikit-learn asks, parameters are looked at in `fit`, not before.
    Integer = Number = Switch = Text = Start = Ridge = Any

# Data of other types becomes the first.
FLOATS = (np.float64, np.float32)
