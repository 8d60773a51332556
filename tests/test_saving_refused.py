"""Files that are not what they should be: an error that names the file and says what
to do, never a mixture."""

import io
import json
import pickle
import re
import struct
import zipfile

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

import gmmx_eqx as gx
from gmmx_eqx.interop.safetensors import contents, files

from .helpers import make_mixture


pytestmark = pytest.mark.x32


def refused(path, match=None):
    with pytest.raises(ValueError, match=match) as caught:
        gx.load(path)
    message = str(caught.value)
    assert message.startswith(f"{str(path)!r} cannot be loaded: ")
    # What to do about it.
    remedies = r"again|Register|Upgrade|Give|Read|jax\.config"
    assert re.search(rf"({remedies}).*\.$", message), message


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "file"
    gx.save(path, make_mixture("full", 3, 2))
    return path.read_bytes()


def header_of(data: bytes) -> int:
    """The size of the header, with that of its length."""
    return 8 + struct.unpack("<Q", data[:8])[0]


def zipped(data: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("data", data)
    return file.getvalue()


def archived(data: bytes) -> bytes:
    file = io.BytesIO()
    np.savez(file, means=np.zeros(3))
    return file.getvalue()


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def renamed(data: bytes) -> bytes:
    """Another family, of a name as long."""
    return data.replace(b'"covariance_type":"full"', b'"covariance_type":"tied"')


def of_type(name: str, n_bytes: int):
    """An array of one number, of a type that NumPy may not have."""
    array = {"dtype": name, "shape": [1], "data_offsets": [0, n_bytes]}
    metadata = {"format": "gmmx_eqx", "version": "1"}
    header = json.dumps({"__metadata__": metadata, "means": array}).encode()
    return lambda data: struct.pack("<Q", len(header)) + header + bytes(n_bytes)


def foreign(metadata):
    arrays = {"weight": np.zeros((2, 2), np.float32)}
    return lambda data: safetensors.numpy.save(arrays, metadata)


DAMAGES = {
    "empty": lambda data: b"",
    "one byte": lambda data: data[:1],
    "length alone": lambda data: data[:8],
    "half of the header": lambda data: data[: header_of(data) // 2],
    "header alone": lambda data: data[: header_of(data)],
    "half": lambda data: data[: (header_of(data) + len(data)) // 2],
    "all but one byte": lambda data: data[:-1],
    "one byte more": lambda data: data + b"\0",
    "twice": lambda data: data + data,
    "without its first byte": lambda data: data[1:],
    "zeros": lambda data: bytes(len(data)),
    "zeros behind the header": lambda data: (
        data[: header_of(data)] + bytes(len(data) - header_of(data))
    ),
    "a bit of the length": lambda data: flipped(data, 0),
    "a high bit of the length": lambda data: flipped(data, 7),
    "a bit of the header": lambda data: flipped(data, data.index(b"FullCov")),
    "a bit of the first array": lambda data: flipped(data, header_of(data)),
    "a bit of the last array": lambda data: flipped(data, len(data) - 1),
    "another family": renamed,
    "bfloat16": of_type("BF16", 2),
    "float8": of_type("F8_E5M2", 1),
    "header without end": lambda data: data[:8] + b"{" * (len(data) - 8),
    "random": lambda data: np.random.default_rng(0).bytes(1000),
    "zip": zipped,
    "npz": archived,
    "pickle": lambda data: pickle.dumps({"means": [0.0]}),
    "json": lambda data: json.dumps({"means": [0.0]}).encode(),
    "another library's": foreign(None),
    "PyTorch's": foreign({"format": "pt"}),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_and_foreign_files(damage, whole, tmp_path):
    path = tmp_path / "file.safetensors"
    data = DAMAGES[damage](whole)
    assert data != whole
    path.write_bytes(data)
    own = damage not in ("another library's", "PyTorch's")
    refused(path, "again" if own else "did not write.*from_squeezed")


def test_cuts_and_flipped_bits_anywhere(whole, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(whole)
    gx.load(path)
    rng = np.random.default_rng(0)
    for cut in rng.choice(len(whole), 40, replace=False):
        path.write_bytes(whole[:cut])
        refused(path)
    for place in rng.choice(len(whole), 150, replace=False):
        path.write_bytes(flipped(whole, place))
        refused(path)


def test_directory_and_nothing(tmp_path):
    refused(tmp_path, "is a directory. Give the path of a file")
    with pytest.raises(FileNotFoundError, match="missing"):
        gx.load(tmp_path / "missing")


# Files whose checksum is right, and whose content is wrong.


def put(name, value):
    return lambda arrays, metadata: arrays.__setitem__(name, value(arrays[name]))


def put_metadata(name, value):
    return lambda arrays, metadata: metadata.__setitem__(name, value)


def change_family(name):
    family = getattr(gx, name)
    changed = {"covariance_type": str(family.type), "covariance_class": name}
    return lambda arrays, metadata: metadata.update(changed)


def drop(name):
    return lambda arrays, metadata: (arrays.pop(name, 0), metadata.pop(name, 0))


def at(index, number):
    """An array with one of its numbers changed."""

    def change(array):
        changed = array.copy()
        changed[index] = number
        return changed

    return change


def asymmetric(values):
    return at((0, 1, 0, 1), values[0, 1, 0, 1] + 0.01)(values)


def singular(values):
    return at((0, 1), np.ones((2, 2)))(values)


def as_type(name):
    return lambda array: array.astype(name)


def other(array):
    """Of the other of the two floating-point types."""
    return array.astype("float32" if array.dtype == np.float64 else "float64")


VALUES = "covariances.values"
not_definite = "`covariances` are not symmetric and positive definite"
not_weights = "`weights` are not non-negative numbers whose sum is one"
# A mixture of three full components and two features.
WRONG_MIXTURES = {
    "no kind": (drop("kind"), "kind is ''"),
    "another kind": (put_metadata("kind", "tree"), "kind is 'tree'; known are"),
    "other arrays": (put_metadata("kind", "solution"), "those of a solution are"),
    "no family": (drop("covariance_type"), "must be one of .*; got ''"),
    "unknown family": (
        put_metadata("covariance_type", "banded"),
        "must be one of .*; got 'banded'. Register .*register_covariance",
    ),
    "diag": (change_family("DiagCovariances"), r"expected \(1, 3, 2, 1\)"),
    "tied": (change_family("TiedCovariances"), r"expected \(1, 1, 2, None\)"),
    "no class": (drop("covariance_class"), "class is ''; known are .*FullCholesky"),
    "class of another family": (
        put_metadata("covariance_class", "DiagCovariances"),
        "class is 'DiagCovariances'; known are",
    ),
    "no JSON": (put_metadata("covariance_static", "{"), "static fields are '{'"),
    "no static fields": (drop("covariance_static"), r"static fields are ''; .* \[\]"),
    "a static field too many": (
        put_metadata("covariance_static", '{"power": 2}'),
        "static fields are .*power",
    ),
    "factors that are values": (
        put_metadata("covariance_class", "FullCholesky"),
        "its arrays are .*those of a mixture are .*scale_tril",
    ),
    "no dtype": (drop("dtype"), "dtype is ''"),
    "half": (put_metadata("dtype", "float16"), "dtype is 'float16'; known are"),
    "no means": (drop("means"), "its arrays are .*those of a mixture are .*means"),
    "no weights": (drop("weights"), "its arrays are"),
    "one more": (
        lambda arrays, metadata: arrays.__setitem__("bias", arrays["means"]),
        "its arrays are .*bias",
    ),
    "flat means": (put("means", np.squeeze), r"`means` have shape \(3, 2\); expected"),
    "no components": (put("means", lambda a: a[:, :0]), r"`means` have shape"),
    "no features": (put("means", lambda a: a[:, :, :0]), r"`means` have shape"),
    "fewer means": (put("means", lambda a: a[:, :2]), r"has shape \(1, 3, "),
    "fewer weights": (put("weights", lambda a: a[:, :2]), "`weights` has shape"),
    "long means": (put("means", lambda a: a.swapaxes(2, 3)), r"expected \(1, 3, 1, "),
    "not square": (
        put(VALUES, lambda a: a[..., :1]),
        "disagree|refused|must be",
    ),
    "a lane of weights": (put("weights", lambda a: a[None]), "`weights` has shape"),
    "integer means": (put("means", as_type(int)), "`means` has dtype int64; expected"),
    "half means": (put("means", as_type("float16")), "`means` has dtype float16"),
    "other means": (put("means", other), "`means` has dtype float.*expected float"),
    "NaN mean": (put("means", at((0, 1, 1, 0), np.nan)), "`means` are not finite"),
    "infinite mean": (put("means", at((0, 1, 1, 0), np.inf)), "`means` are not finite"),
    "NaN weight": (put("weights", at((0, 1, 0, 0), np.nan)), not_weights),
    "negative weight": (
        put("weights", lambda w: at((0, 1, 0, 0), -w[0, 1, 0, 0])(w)),
        not_weights,
    ),
    "negative weight, and sum of one": (
        put("weights", lambda w: np.array([-0.5, 1, 0.5], w.dtype).reshape(w.shape)),
        not_weights,
    ),
    "weights of two": (put("weights", lambda w: 2 * w), not_weights),
    "NaN variance": (put(VALUES, at((0, 1, 0, 0), np.nan)), not_definite),
    "infinite variance": (
        put(VALUES, at((0, 1, 0, 0), np.inf)),
        not_definite,
    ),
    "negative variance": (
        put(VALUES, at((0, 1, 0, 0), -1)),
        not_definite,
    ),
    "zero variance": (put(VALUES, lambda c: 0 * c), not_definite),
    "indefinite": (
        put(VALUES, at((0, 1), [[1, 2], [2, 1]])),
        not_definite,
    ),
    "singular": (put(VALUES, singular), not_definite),
    "asymmetric": (put(VALUES, asymmetric), not_definite),
}


def write(path, what, change):
    arrays, metadata = contents.take_apart(what)
    change(arrays, metadata)
    arrays = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    files.write(path, arrays, metadata)


@pytest.mark.parametrize("case", WRONG_MIXTURES)
def test_wrong_mixtures(case, tmp_path):
    change, match = WRONG_MIXTURES[case]
    path = tmp_path / "file.safetensors"
    write(path, make_mixture("full", 3, 2), lambda arrays, metadata: None)
    gx.load(path)
    write(path, make_mixture("full", 3, 2), change)
    refused(path, match)


@pytest.mark.parametrize("name", ["diag", "spherical", "tied"])
@pytest.mark.parametrize("number", [-1, 0, np.nan, np.inf])
def test_variances_that_are_none(name, number, tmp_path):
    path = tmp_path / "file.safetensors"
    mixture = make_mixture(name, 3, 2)
    write(path, mixture, put(VALUES, at((0, 0, 0, 0), number)))
    refused(path, not_definite)


def test_the_mixture_is_named(tmp_path):
    ensemble = gx.stack([make_mixture("diag", 3, 2, seed) for seed in range(4)])
    path = tmp_path / "file.safetensors"
    write(path, ensemble, put("means", at((2, 0, 1, 0, 0), np.nan)))
    refused(path, "`means` are not finite in mixture 2")


@pytest.fixture(scope="module")
def population() -> gx.Population:
    """As of three restarts."""
    number, count = jnp.asarray(-1.0), jnp.asarray(3)

    def solve(mixture):
        return gx.Solution(
            mixture=mixture,
            log_likelihood=number,
            mean_log_likelihood=number,
            n_steps=count,
            objectives=jnp.full(4, number),
            result=gx.RESULTS.successful,
        )

    mixtures = gx.stack([make_mixture("diag", 3, 2, seed) for seed in range(3)])
    return gx.Population(eqx.filter_vmap(solve)(mixtures), count, 2)


first = at((0,), 9)
WRONG_POPULATIONS = {
    "no status": (drop("result"), "its arrays are"),
    "unknown status": (put("result", first), r"`result` must lie in 0 \.\.\. 8; .* 9"),
    "negative status": (put("result", lambda a: a - 1), r"`result` must lie in"),
    "a status less": (put("result", lambda a: a[1:]), r"`result` has shape \(2,\)"),
    "status of a float": (put("result", as_type("float32")), "`result` has dtype"),
    "no history": (drop("log_likelihoods"), "its arrays are"),
    "flat history": (put("log_likelihoods", lambda a: a[0]), "`log_likelihoods` has"),
    "a likelihood less": (put("log_likelihood", lambda a: a[1:]), "`log_likelihood`"),
    "broken steps": (put("n_steps", lambda a: a + 0.5), "`n_steps` has dtype"),
    "short steps": (put("n_steps", as_type("int16")), "expected int32 or int64"),
    "no width": (drop("width"), "its width is ''"),
    "width of zero": (put_metadata("width", "0"), "its width is '0'"),
    "width of words": (put_metadata("width", "wide"), "its width is 'wide'"),
    "pool of lanes": (put("n_turns", lambda a: a[None]), "`n_turns` has"),
    "NaN in a good lane": (
        put("means", at((1, 0, 0, 0, 0), np.nan)),
        "`means` are not finite in mixture 1",
    ),
    "one lane": (
        lambda arrays, metadata: arrays.update(
            {name: a[0] for name, a in arrays.items() if a.ndim}
        ),
        "without an axis of lanes",
    ),
}


@pytest.mark.parametrize("case", WRONG_POPULATIONS)
def test_wrong_populations(case, population, tmp_path):
    change, match = WRONG_POPULATIONS[case]
    path = tmp_path / "file.safetensors"
    assert np.all(population.solutions.converged)
    write(path, population, change)
    refused(path, match)


@pytest.mark.x32
def test_count_that_is_too_large(population, tmp_path):
    path = tmp_path / "file.safetensors"
    write(path, population[0], put("n_steps", lambda a: np.asarray(2**40)))
    refused(path, "`n_steps` is too large for int32")


# Versions.


@pytest.mark.parametrize(
    "version, match",
    [
        ("3", "format version is 3, .* at most 2. Upgrade: `pip install"),
        ("10", "format version is 10"),
        ("0", "not a positive number"),
        ("-1", "not a positive number"),
        ("one", "not a positive number"),
        ("", "not a positive number"),
    ],
)
def test_versions(version, match, tmp_path, monkeypatch):
    path = tmp_path / "file.safetensors"
    monkeypatch.setattr(files, "_VERSION", version)
    files.write(path, {}, {})
    monkeypatch.undo()
    refused(path, match)
