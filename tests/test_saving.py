"""Files of mixtures and fits: what is loaded is what was saved, or the old file."""

import os
import pathlib
import signal
import stat
import subprocess
import sys
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import safetensors.numpy
from jaxtyping import Array, Float

import gmmx_eqx as gx
from gmmx_eqx._core.aliases import DiagValues
from gmmx_eqx._covariances import AbstractIndependent
from gmmx_eqx.interop.safetensors import files

from .helpers import every_family, make_data, make_mixture


float_types = pytest.mark.parametrize(
    "float_type", [np.float32, pytest.param(np.float64, marks=pytest.mark.x64)]
)


def assert_same(got, expected):
    """The same tree, equal to the last bit: the sign of a zero and a NaN included."""
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        a, b = np.asarray(a), np.asarray(b)
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        assert a.tobytes() == b.tobytes()


def there_and_back(what, path):
    gx.save(path, what)
    got = gx.load(path)
    assert_same(got, what)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(got))


@pytest.fixture
def path(tmp_path) -> pathlib.Path:
    return tmp_path / "file.safetensors"


@pytest.fixture(scope="module")
def solutions() -> gx.Solution:
    """Of data sets of which the second holds a NaN and the third no two samples."""
    xs = np.stack([make_data(40, 2, seed=seed) for seed in range(4)])
    xs[1, 3], xs[2] = np.nan, 0
    return gx.fit_batch(xs, 2, "diag", key=jr.key(0), reg_covar=0.0, width=2)


@pytest.mark.x64
@every_family
@float_types
def test_mixtures(name, float_type, path):
    mixture = make_mixture(name, 4, 3, dtype=float_type)
    # A weight of zero, a negative zero and a number without a normal exponent.
    tiny = np.finfo(float_type).smallest_subnormal
    means = np.array(mixture.means)
    means[0, 0, :2, 0] = -0.0, tiny
    weights = np.array([0.0, 0.25, 0.25, 0.5], float_type)
    mixture = gx.GaussianMixture(
        jnp.asarray(weights[None, :, None, None]),
        jnp.asarray(means),
        mixture.covariances,
    )
    there_and_back(mixture, path)


@pytest.mark.x32
@every_family
@pytest.mark.parametrize("n_components, n_features", [(1, 1), (1, 3), (4, 1)])
def test_smallest_mixtures(name, n_components, n_features, path):
    there_and_back(make_mixture(name, n_components, n_features), path)


@pytest.mark.x64
@every_family
@float_types
def test_ensembles(name, float_type, path):
    members = [make_mixture(name, 4, 3, seed, dtype=float_type) for seed in range(6)]
    ensemble = gx.stack(members)
    there_and_back(ensemble, path)
    assert_same(gx.load(path)[2], members[2])
    there_and_back(
        jax.tree.map(lambda a: a.reshape(2, 3, *a.shape[1:]), ensemble), path
    )


@pytest.mark.x32
@every_family
def test_solutions(name, solutions, path):
    solution = jax.tree.map(lambda leaf: leaf[0], solutions)
    mixture = make_mixture(name, 2, 2)
    solution = eqx.tree_at(lambda s: s.mixture, solution, mixture)
    there_and_back(solution, path)
    loaded = gx.load(path)
    assert loaded.converged
    assert loaded.log_likelihoods[-1] == solution.log_likelihood


@pytest.mark.x32
def test_fits_that_failed(solutions, path):
    """Their mixtures may be anything, for each data set by itself."""
    failed = ~np.asarray(solutions.converged)
    np.testing.assert_array_equal(failed, [False, True, True, False])
    assert not np.all(np.isfinite(solutions.mixture.means))
    there_and_back(solutions, path)
    # Without its status, a mixture with a NaN is no mixture.
    with pytest.raises(ValueError, match="`what` cannot be saved: its .* in mixture 1"):
        gx.save(path, solutions.mixture)
    there_and_back(solutions, path)


@pytest.mark.x32
def test_populations(solutions, path):
    population = gx.Population(solutions, jnp.asarray(7), 2)
    there_and_back(population, path)
    loaded = gx.load(path)
    assert (loaded.width, len(loaded)) == (2, 4)
    assert_same(loaded.best, population.best)
    there_and_back(jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), population), path)


@pytest.mark.x32
def test_every_status_has_a_number(solutions, path):
    items = [
        gx.RESULTS.successful,
        gx.RESULTS.max_steps_reached,
        gx.RESULTS.nonfinite,
        gx.RESULTS.component_collapsed,
        gx.RESULTS.too_few_samples,
        gx.RESULTS.component_unresolved,
        gx.RESULTS.dropped,
        gx.RESULTS.passes_taken,
        gx.RESULTS.singular,
    ]
    assert len(items) == len(gx.RESULTS)
    first = jax.tree.map(lambda leaf: leaf[0], solutions)
    for code, item in enumerate(items):
        gx.save(path, eqx.tree_at(lambda s: s.result, first, item))
        assert gx.load(path).result == item
        assert safetensors.numpy.load_file(path)["result"] == code


@pytest.mark.x32
def test_other_programs_can_read_it(path):
    mixture = make_mixture("tied", 4, 3)
    gx.save(path, mixture)
    arrays = safetensors.numpy.load_file(path)
    assert set(arrays) == {"weights", "means", "covariances.values"}
    np.testing.assert_array_equal(arrays["means"], mixture.means, strict=True)
    with safetensors.safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    assert metadata["format"] == "gmmx_eqx"
    assert (metadata["kind"], metadata["covariance_type"]) == ("mixture", "tied")


@pytest.mark.x32
def test_equal_content_is_equal_bytes(path):
    mixture = make_mixture("full", 3, 2)
    written = set()
    for _ in range(5):
        gx.save(path, mixture)
        written.add(path.read_bytes())
    assert len(written) == 1


def test_loaded_mixture_works(path):
    x = make_data(50, 2)
    mixture = make_mixture("full", 3, 2)
    gx.save(str(path), mixture)
    loaded = gx.load(str(path))
    np.testing.assert_array_equal(loaded.log_prob(x), mixture.log_prob(x))


class OwnCovariances(AbstractIndependent):
    """As `diag`, by another name."""

    values: DiagValues
    type = "own"


@pytest.mark.x32
def test_family_of_ones_own(path, monkeypatch):
    diag = make_mixture("diag", 3, 2)
    own = OwnCovariances(values=diag.covariances.values)
    mixture = gx.GaussianMixture(diag.weights, diag.means, own)
    with pytest.raises(ValueError, match="register_covariance"):
        gx.save(path, mixture)
    assert not path.exists()
    monkeypatch.setitem(gx.COVARIANCE, "own", OwnCovariances)
    there_and_back(mixture, path)
    assert type(gx.load(path).covariances) is OwnCovariances
    # Neither unknown, nor another class of that name.
    monkeypatch.setitem(gx.COVARIANCE, "own", gx.DiagCovariances)
    with pytest.raises(ValueError, match="`OwnCovariances`, is not the one"):
        gx.save(path, mixture)
    monkeypatch.delitem(gx.COVARIANCE, "own")
    with pytest.raises(ValueError, match=r"file\.safetensors.*'own'.*register"):
        gx.load(path)


class ScaledCovariances(gx.extend.AbstractCovariances):
    """A shape that all components share times a volume each, to a fixed power; as much
    of a family as a file needs."""

    volume: Float[Array, "batch=1 components features=1 features_covar=1"]
    shape: Float[Array, "batch=1 components=1 features features_covar=1"]
    power: float = eqx.field(static=True)
    name: str = eqx.field(static=True)
    type: ClassVar[str] = "scaled"

    @classmethod
    def create(cls, n_components, n_features, device=None):
        raise NotImplementedError

    @property
    def variances(self):
        return self.volume**self.power * self.shape

    def whitening(self, n_features, tolerant=False):
        return gx.extend.Diagonal(1 / jnp.sqrt(self.variances), n_features)

    def dense(self, n_features):
        return self.variances * jnp.eye(n_features, dtype=self.shape.dtype)[None, None]

    def colour(self, noise, labels):
        raise NotImplementedError

    @property
    def n_parameters(self):
        return 0

    def statistic(self, residuals, resp):
        raise NotImplementedError

    def estimate(self, moments, reg_covar):
        raise NotImplementedError


def scaled_mixture(power: Any = 0.1):
    """Of three components and two features."""
    plain = make_mixture("tied_diag", 3, 2)
    volume = jnp.asarray([1.0, 2.0, 3.0]).reshape(1, 3, 1, 1)
    covariances = ScaledCovariances(volume, plain.covariances.values, power, "a name")
    return gx.GaussianMixture(plain.weights, plain.means, covariances)


def test_family_of_several_fields(path):
    """Arrays, a number and a string, by nothing but registration."""
    gx.extend.register_covariance(ScaledCovariances)
    try:
        mixture = scaled_mixture()
        there_and_back(mixture, path)
        there_and_back(gx.stack([mixture, mixture]), path)
        loaded = gx.load(path).covariances
        assert type(loaded) is ScaledCovariances
        assert (loaded.power, loaded.name) == (0.1, "a name")
        with pytest.raises(ValueError, match="numbers and strings"):
            gx.save(path, scaled_mixture(power=(1, 2)))
    finally:
        del gx.COVARIANCE["scaled"]


@pytest.mark.parametrize("name", ["full", "tied"])
def test_factors(name, path):
    values = make_mixture(name, 3, 2).covariances
    factors = np.linalg.cholesky(values.values_numpy)
    plain = make_mixture(name, 3, 2)
    held = type(values).from_cholesky(factors)
    there_and_back(gx.GaussianMixture(plain.weights, plain.means, held), path)
    assert type(gx.load(path).covariances) is type(held)


@pytest.mark.parametrize("factored", [False, True])
def test_files_of_version_1(factored, path, monkeypatch):
    """What this library wrote before it saved families by their fields."""
    mixture = make_mixture("full", 3, 2)
    name, array = "covariances", mixture.covariances.values
    if factored:
        name, array = "scale_tril", jnp.linalg.cholesky(array)
        held = gx.FullCovariances.from_cholesky(array[0])
        mixture = gx.GaussianMixture(mixture.weights, mixture.means, held)
    arrays = {"weights": mixture.weights, "means": mixture.means, name: array}
    arrays = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    dtype = mixture.means.dtype.name
    metadata = {"kind": "mixture", "covariance_type": "full", "dtype": dtype}
    with monkeypatch.context() as patch:
        patch.setattr(files, "_VERSION", 1)
        files.write(path, arrays, metadata)
    assert_same(gx.load(path), mixture)


# Types.


def test_float64_where_there_is_none(path, dtype):
    with jax.enable_x64(True):
        wide = make_mixture("full", 3, 2, dtype=np.float64)
    # As scikit-learn's estimator holds them, whatever the x64 mode.
    gx.save(path, wide)
    if dtype == np.float64:
        assert_same(gx.load(path), wide)
    else:
        for asked in (None, "float64"):
            with pytest.raises(ValueError, match='x64 mode is off.*dtype="float32"'):
                gx.load(path, dtype=asked)
    narrow = gx.load(path, dtype=jnp.float32)
    for got, expected in zip(
        jax.tree.leaves(narrow), jax.tree.leaves(wide), strict=True
    ):
        expected = np.asarray(expected).astype(np.float32)
        np.testing.assert_array_equal(got, expected, strict=True)


@pytest.mark.x64
def test_wider_is_exact(path):
    mixture = make_mixture("diag", 3, 2, dtype=np.float32)
    gx.save(path, mixture)
    wide = gx.load(path, dtype="float64")
    assert_same(wide, jax.tree.map(lambda leaf: leaf.astype(float), mixture))


@pytest.mark.x64
def test_what_float32_cannot_hold(path):
    mixture = make_mixture("full", 3, 2)
    gx.save(path, eqx.tree_at(lambda m: m.means, mixture, 1e200 * mixture.means))
    with pytest.raises(ValueError, match="`means` are not finite"):
        gx.load(path, dtype="float32")


@pytest.mark.x32
@pytest.mark.parametrize("wrong", ["float16", np.int32, "nonsense", 3])
def test_dtype_that_is_none(wrong, path):
    with pytest.raises(ValueError, match="`dtype` must be float32 or float64"):
        gx.load(path, dtype=wrong)


# What cannot be saved.


@pytest.mark.x32
# Made when the test runs: an operation at import is a program in every worker.
@pytest.mark.parametrize(
    "make",
    [
        lambda: None,
        lambda: {"means": np.zeros(3)},
        lambda: gx.UnconstrainedMixture.from_mixture(make_mixture("diag")),
        lambda: [make_mixture("diag")],
    ],
    ids=["nothing", "dict", "unconstrained", "list"],
)
def test_something_else(make, path):
    what = make()
    with pytest.raises(ValueError, match=f"got a `{type(what).__name__}`"):
        gx.save(path, what)
    assert not path.exists()


# Half-way.


@pytest.mark.x32
@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_write_that_fails(step, path, monkeypatch):
    old, new = make_mixture("full", seed=0), make_mixture("full", seed=1)
    gx.save(path, old)

    def fail(*args):
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, step, fail)
        with pytest.raises(OSError, match="No space left"):
            gx.save(path, new)
    assert_same(gx.load(path), old)
    assert os.listdir(path.parent) == [path.name]
    gx.save(path, new)
    assert_same(gx.load(path), new)


@pytest.mark.x32
@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_a_process_that_dies_while_it_writes(path):
    mixture = make_mixture("full")
    gx.save(path, mixture)
    before = path.read_bytes()
    # Killed when all but the renaming is done, and so at the worst moment.
    code = f"""
import os, signal
import jax
import gmmx_eqx as gx
os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
jax.config.update("jax_enable_x64", {jax.config.jax_enable_x64})  # pyright: ignore
gx.save({str(path)!r}, gx.load({str(path)!r}))
"""
    killed = subprocess.run([sys.executable, "-c", code], capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert path.read_bytes() == before
    (left,) = set(os.listdir(path.parent)) - {path.name}
    assert left.endswith(".tmp")
    there_and_back(mixture, path)


@pytest.mark.x32
@pytest.mark.skipif(os.name != "posix", reason="needs links and modes")
def test_links_and_modes_stay(path):
    gx.save(path, make_mixture("full", seed=0))
    ordinary = path.with_name("ordinary")
    ordinary.write_bytes(b"")
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(ordinary.stat().st_mode)
    path.chmod(0o640)
    link = path.with_name("link")
    link.symlink_to(path)
    new = make_mixture("full", seed=1)
    gx.save(link, new)
    assert link.is_symlink()
    assert_same(gx.load(path), new)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.x32
def test_nowhere_to_write(tmp_path):
    mixture = make_mixture("full")
    with pytest.raises(FileNotFoundError, match="no directory .*missing"):
        gx.save(tmp_path / "missing" / "file", mixture)
    with pytest.raises(IsADirectoryError, match="is a directory"):
        gx.save(tmp_path, mixture)
    assert os.listdir(tmp_path) == []


@pytest.mark.x32
def test_names_of_other_formats(tmp_path):
    mixture = make_mixture("full")
    for name in ("mixture.npz", "MIXTURE.PKL", "a.safetensors.h5"):
        ending = os.path.splitext(name)[1].lower()
        with pytest.raises(ValueError, match=f"`path`.*'{ending}'.*safetensors"):
            gx.save(tmp_path / name, mixture)
    assert os.listdir(tmp_path) == []
    # A dot alone says nothing of a format.
    for name in ("mixture", "mixture.v1.2", "mixture.safetensors"):
        gx.save(tmp_path / name, mixture)
        assert gx.load(tmp_path / name).n_components == mixture.n_components
    np.savez(tmp_path / "mixture.npz", **mixture.to_numpy())
    with pytest.raises(ValueError, match=r"from_numpy\(np.load"):
        gx.load(tmp_path / "mixture.npz")


@pytest.mark.x32
def test_without_safetensors(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    for call in (lambda: gx.save(path, make_mixture("full")), lambda: gx.load(path)):
        with pytest.raises(ImportError, match=r'pip install "gmmx_eqx\[safetensors\]"'):
            call()


# Equinox's own way.


@pytest.mark.x32
@every_family
def test_equinox_serialises(name, path):
    mixture = make_mixture(name, 3, 2)
    eqx.tree_serialise_leaves(path, mixture)
    like = eqx.filter_eval_shape(gx.GaussianMixture.create, 3, 2, name)
    assert_same(eqx.tree_deserialise_leaves(path, like), mixture)


@pytest.mark.x32
def test_equinox_serialises_fits(solutions, path):
    solution = jax.tree.map(lambda leaf: leaf[0], solutions)
    eqx.tree_serialise_leaves(path, solution)
    x, first = jnp.asarray(make_data(40, 2)), make_mixture("diag", 2, 2)
    like = eqx.filter_eval_shape(lambda x: gx.fit(first, x, throw=False), x)
    assert_same(eqx.tree_deserialise_leaves(path, like), solution)
