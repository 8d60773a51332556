"""Programs that a folder keeps as a whole."""

import shutil
import time
import types
import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import gmmx_eqx as gx
from gmmx_eqx._core import kept, programs, surroundings

from .helpers import make_data, make_mixture


pytestmark = pytest.mark.x64


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """A folder for programs, of this test alone."""
    monkeypatch.setattr(kept, "_programs", {})
    monkeypatch.setattr(kept, "_folder", None)
    kept.keep_in(tmp_path)
    yield tmp_path / "programs"
    surroundings.surroundings.cache_clear()


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


FAMILIES = ["full", "tied", "diag", "EVE"]


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


def test_nothing_is_kept_where_the_device_is_no_cpu(monkeypatch):
    x = np.zeros((9, 2))
    other = types.SimpleNamespace(platform="gpu")
    monkeypatch.setattr(kept, "jax", types.SimpleNamespace(devices=lambda: [other]))
    assert not kept._are_on_the_one_device([x])
    monkeypatch.undo()
    assert kept._are_on_the_one_device([x])


def of_a_copy(path, monkeypatch):
    """The library's source, one line of which is changed."""
    copy = path / "gmmx_eqx"
    shutil.copytree(surroundings.PACKAGE, copy, ignore=shutil.ignore_patterns("*.pyc"))
    (copy / "_moments.py").write_text("# Changed.\n")
    monkeypatch.setattr(surroundings, "PACKAGE", copy)
    monkeypatch.setattr(surroundings, "_IMPORTED", time.time() + 60)


SURROUNDINGS = {
    "source": of_a_copy,
    "versions": lambda path, patch: patch.setattr("importlib.metadata.version", repr),
    "processor": lambda path, patch: patch.setattr(surroundings, "_processor", tuple),
    "threads": lambda path, patch: patch.setattr("os.cpu_count", lambda: 3),
    "flags": lambda path, patch: patch.setenv("XLA_FLAGS", "--xla_dump_hlo_as_text"),
}


@pytest.mark.parametrize("change", SURROUNDINGS.values(), ids=SURROUNDINGS)
def test_surroundings_are_part_of_a_program(folder, tmp_path, monkeypatch, change):
    mixture, x = make_mixture("full"), make_data(60)
    mixture.predict(x)
    change(tmp_path, monkeypatch)
    surroundings.surroundings.cache_clear()
    monkeypatch.setattr(kept, "_programs", {})
    mixture.predict(x)
    assert len(list(folder.iterdir())) == 2


def test_source_that_is_not_what_was_imported(folder, tmp_path, monkeypatch):
    surroundings.surroundings.cache_clear()
    monkeypatch.setattr(surroundings, "_IMPORTED", 0.0)
    kept.keep_in(tmp_path)
    make_mixture("full").predict(make_data(60))
    assert not folder.exists()


def test_types_of_arguments_are_part_of_a_program(folder):
    @programs.program()
    def fn(x, other):
        return x * other if isinstance(other, float | jax.Array) else x

    fn.__wrapped__.__module__ = "gmmx_eqx"
    n_files = lambda: len(list(folder.iterdir()))
    x = jnp.ones(3)
    for n, other in enumerate((1, 1.0, True, jnp.asarray(1.0), jnp.float32(1)), 1):
        assert fn(x.astype(np.float32), other).shape == (3,)
        assert n_files() == n
    assert fn(jnp.asarray(1.0), 1).weak_type and not fn(jnp.zeros(()), 1).weak_type


def test_functions_of_users_are_not_kept(folder):
    fn = programs.program()(lambda x, fn: fn(x))
    x = jnp.ones(3)
    assert fn(x, lambda x: x + 1)[0] == 2
    assert not folder.exists()


def test_data_on_a_mesh_is_not_kept(folder):
    mesh = jax.make_mesh((1,), ("i",))
    spread = jax.NamedSharding(mesh, jax.P("i"))
    mixture, x = make_mixture("full"), jnp.asarray(make_data(60))
    mixture.predict(jax.device_put(x, spread))
    with jax.set_mesh(mesh):
        mixture.predict(x)
    assert not folder.exists()
    # Where it must be is part of it.
    mixture.predict(x)
    there = mixture.predict(jax.device_put(x, jax.devices()[0]))
    assert there.committed and len(list(folder.iterdir())) == 2


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


@pytest.mark.parametrize(
    "setting",
    [jax.debug_nans, jax.debug_infs, jax.checking_leaks, jax.disable_jit],
    ids="nans infs leaks python".split(),
)
def test_watched_values_are_not_kept(folder, setting):
    with setting() if setting is jax.checking_leaks else setting(True):
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
        assert kept._load(file) is None
        np.testing.assert_array_equal(mixture.predict(x), right)
        assert kept._load(file) is not None


def test_a_folder_that_cannot_be_written(folder):
    folder.write_text("A file.")
    mixture, x = make_mixture("full"), make_data(60)
    with pytest.warns(RuntimeWarning, match="could not be kept"):
        mixture.predict(x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mixture.predict(x)
