"""Names of other libraries: what an error says of them, and that it stays the error
that Python has."""

import dataclasses
import inspect

import pytest

import gmmx_eqx as gx
from gmmx_eqx._core.hints import hinted, no_attribute
from gmmx_eqx._fit import hints as of_fits
from gmmx_eqx._mixture import hints as of_mixtures

from .helpers import make_mixture


@hinted({"b": "Use `a`."})
def scale(a: float) -> float:
    """A function."""
    if a < 0:
        raise TypeError("from the inside")
    return 2 * a


@pytest.mark.x32
def test_arguments():
    assert scale(1.0) == scale(a=1.0) == 2
    with pytest.raises(TypeError, match=r"argument 'b'\. Use `a`\.$") as caught:
        scale(b=1.0)  # pyright: ignore[reportCallIssue]
    assert caught.value.__suppress_context__
    # Others are Python's own.
    for kwargs in ({}, {"c": 1.0}):
        with pytest.raises(TypeError) as caught:
            scale(**kwargs)
        assert "Use" not in str(caught.value)
    with pytest.raises(TypeError, match="^from the inside$"):
        scale(-1.0)
    assert scale.__doc__ == "A function."
    assert list(inspect.signature(scale).parameters) == ["a"]


@pytest.mark.x32
def test_attributes():
    class Owner:
        @property
        def broken(self):
            raise AttributeError("a reason")

        def __getattr__(self, name):
            no_attribute(self, name, {"size": "Use `length`."}.get(name))

    with pytest.raises(AttributeError, match="'size'. Use `length`"):
        _ = Owner().size
    with pytest.raises(AttributeError, match="no attribute 'other'$"):
        _ = Owner().other
    with pytest.raises(AttributeError, match="^a reason$"):
        _ = Owner().broken


@pytest.mark.x32
def test_no_hint_hides_a_name():
    """What an error explains is not there."""
    mixture = make_mixture("full")
    solution_names = {field.name for field in dataclasses.fields(gx.Solution)}
    for name in of_mixtures.ATTRIBUTES:
        assert not hasattr(mixture, name), name
        assert name not in solution_names
    functions = {
        gx.fit: of_fits.ONE,
        gx.fit_restarts: of_fits.MANY,
        gx.fit_batch: of_fits.MANY,
        gx.select: of_fits.SEVERAL,
        gx.GaussianMixture.from_k_means: of_mixtures.START,
    }
    for function, names in functions.items():
        assert not set(inspect.signature(function).parameters) & set(names)
    assert not of_mixtures.ESTIMATOR & set(inspect.signature(type(mixture)).parameters)


@pytest.mark.x32
def test_protocols():
    """Whoever asks whether a name is there is told that it is not."""
    mixture = make_mixture("full")
    for name in ("fit", "means_", "__jax_array__", "_repr_png_", "__array__"):
        assert not hasattr(mixture, name)
    assert dataclasses.replace(mixture, means=2 * mixture.means).means.shape
    assert "fit" not in dir(mixture)
