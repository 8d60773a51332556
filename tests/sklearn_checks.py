"""scikit-learn's own checks of an estimator, as cases of a test, and its own tests."""

import os
from collections.abc import Callable, Iterator
from types import ModuleType
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


def own_tests(
    module: ModuleType, not_run: dict[str, str], slow: set[str]
) -> dict[str, Callable[..., None]]:
    """The tests of a module of scikit-learn that are run, by name: those that are slow
    only with GMMX_EQX_SLOW_TESTS=1."""
    theirs = {
        name: test for name, test in vars(module).items() if name.startswith("test_")
    }
    assert not_run.keys() | slow <= theirs.keys()
    with_slow = os.environ.get("GMMX_EQX_SLOW_TESTS") == "1"
    left_out = not_run.keys() | (set() if with_slow else slow)
    return {name: test for name, test in theirs.items() if name not in left_out}
