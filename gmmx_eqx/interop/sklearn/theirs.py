from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ..._initialisers import AbstractInitialiser
from ..._priors import AbstractRidge
from .arrays import TYPES


def as_theirs(estimator: Any) -> Any:
    """The estimator of `sklearn.mixture` of the same name, with the arguments and all
    attributes of a fitted estimator of this library."""
    import sklearn.mixture

    check_is_fitted(estimator)
    if estimator.covariance_type not in TYPES:
        raise ValueError(
            f"scikit-learn has no covariance type {estimator.covariance_type!r}, only "
            f"{', '.join(map(repr, TYPES))}."
        )
    # What scikit-learn does not have, or its `fit` would refuse, is left out.
    arguments = {
        name: value
        for name, value in estimator.get_params(deep=False).items()
        if name != "missing_values"
        and not isinstance(value, AbstractInitialiser | AbstractRidge)
    }
    theirs: Any = getattr(sklearn.mixture, type(estimator).__name__)(**arguments)
    for name, value in vars(estimator).items():
        if name.endswith("_"):
            own = isinstance(value, np.ndarray | list)
            setattr(theirs, name, value.copy() if own else value)
    return theirs
