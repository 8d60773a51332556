"""Programs that a folder keeps as a whole."""

import warnings

import equinox as eqx
import jax
import jax.random as jr
import numpy as np
import pytest

import gmmx_eqx as gx
from gmmx_eqx._core import kept, programs

from .helpers import make_data, make_mixture


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """A folder for programs, of this test alone."""
    monkeypatch.setattr(kept, "_programs", {})
    monkeypatch.setattr(kept, "_folder", tmp_path)
    return tmp_path / "programs"


@pytest.fixture
def as_another_process(monkeypatch):
    """Forgets the programs of this process, and makes no others."""

    def forget():
        monkeypatch.setattr(kept, "_programs", {})

        def refuse(fn, *args):
            raise AssertionError(f"{fn.__qualname__} is compiled.")

        monkeypatch.setattr(kept, "_make", refuse)
        monkeypatch.setattr(programs, "_compiled", refuse)

    return forget


def leaves(tree):
    return [
        np.asarray(leaf) for leaf in jax.tree.leaves(eqx.filter(tree, eqx.is_array))
    ]


FAMILIES = ["full", "tied", "diag", "spherical", "VEI", "EVE"]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_kept_program_is_the_same(folder, as_another_process, family):
    x = make_data(60)
    start = make_mixture(family)
    fn = lambda: (
        gx.fit(start, x, throw=False),
        gx.fit_restarts(x, 2, family, 3, key=jr.key(1)),
        start.predict_proba(x),
        start.bic(x),
    )
    first = fn()
    n_files = len(list(folder.iterdir()))
    assert n_files > 2
    as_another_process()
    again = fn()
    assert len(list(folder.iterdir())) == n_files
    assert jax.tree.structure(first) == jax.tree.structure(again)
    for one, other in zip(leaves(first), leaves(again), strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype


def test_one_file_for_each_program(folder):
    x, n_files = make_data(60), lambda: len(list(folder.iterdir()))
    mixture = make_mixture("full")
    mixture.predict(x)
    assert n_files() == 1
    # The same program: a number of samples and of components of the same bucket.
    mixture.predict(make_data(59))
    make_mixture("full", 2).predict(x)
    assert n_files() == 1
    # Others: a function, a family, a size.
    mixture.predict_proba(x)
    make_mixture("diag").predict(x)
    mixture.predict(make_data(200))
    assert n_files() == 4


def test_settings_are_part_of_a_program(folder):
    mixture, x = make_mixture("full"), make_data(60)
    mixture.predict(x)
    with jax.default_matmul_precision("highest"):
        mixture.predict(x)
    assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize("name", ["versions", "processor"])
def test_surroundings_are_part_of_a_program(folder, monkeypatch, name):
    mixture, x = make_mixture("full"), make_data(60)
    mixture.predict(x)
    found = kept._surroundings()
    monkeypatch.setattr(kept, "_surroundings", lambda: (*found, name))
    monkeypatch.setattr(kept, "_programs", {})
    mixture.predict(x)
    assert len(list(folder.iterdir())) == 2


class Mine(gx.KMeans):
    """A class whose source may change, while its name does not."""


def test_classes_of_others_are_not_kept(folder):
    x = make_data(60)
    start = lambda initialiser: gx.GaussianMixture.from_initialiser(
        initialiser, x, 3, key=jr.key(0)
    )
    mine = start(Mine())
    assert not folder.exists()
    theirs = start(gx.KMeans())
    assert len(list(folder.iterdir())) > 0
    np.testing.assert_array_equal(mine.means, theirs.means)


class Counter(gx.extend.AbstractProgress):
    n_calls = 0

    def begin(self, unit, total):
        pass

    def update(self, n_done, log_likelihood, change):
        self.n_calls += 1

    def end(self):
        pass


def test_programs_that_call_functions_are_not_kept(folder, monkeypatch):
    x, start = make_data(60), make_mixture("full")
    for _ in range(2):
        counter = Counter()
        solution = gx.fit(start, x, throw=False, progress=counter)
        assert counter.n_calls >= solution.n_steps > 0
        assert not folder.exists()
        monkeypatch.setattr(kept, "_programs", {})


def test_watched_values_are_not_kept(folder):
    with jax.debug_nans(True):
        make_mixture("full").predict(make_data(60))
    with jax.disable_jit():
        make_mixture("full").predict(make_data(60))
    assert not folder.exists()


def test_a_damaged_file_is_written_again(folder, monkeypatch):
    mixture, x = make_mixture("full"), make_data(60)
    right = mixture.predict(x)
    (file,) = folder.iterdir()
    whole = file.read_bytes()
    for damaged in (b"", whole[:-100], b"\0" + whole[1:]):
        file.write_bytes(damaged)
        monkeypatch.setattr(kept, "_programs", {})
        np.testing.assert_array_equal(mixture.predict(x), right)
        assert len(file.read_bytes()) > len(whole) / 2


def test_a_folder_that_cannot_be_written(folder):
    folder.write_text("A file.")
    mixture, x = make_mixture("full"), make_data(60)
    with pytest.warns(RuntimeWarning, match="could not be kept"):
        mixture.predict(x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mixture.predict(x)
