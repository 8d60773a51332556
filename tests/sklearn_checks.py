"""scikit-learn's own checks of an estimator, as cases of a test."""

from collections.abc import Iterator
from typing import Any

import pytest
from sklearn.utils.estimator_checks import estimator_checks_generator


def checks_of(estimator: Any, in_both: tuple[str, ...] = ()) -> Iterator[Any]:
    """Some of the checks compile a program or more, so each world has its half of them,
    except for those of `in_both`."""
    for index, (own, check) in enumerate(estimator_checks_generator(estimator)):
        name = getattr(check, "func", check).__name__
        marks = () if name in in_both else (pytest.mark.x64, pytest.mark.x32)[index % 2]
        yield pytest.param(own, check, id=f"{index}_{name}", marks=marks)
