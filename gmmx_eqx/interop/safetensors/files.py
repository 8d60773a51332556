"""Files of named arrays: written as a whole or not at all, and read with suspicion."""

import contextlib
import hashlib
import json
import os
import secrets
import shutil
from typing import Any, TypeAlias

import numpy as np


Path: TypeAlias = str | os.PathLike[str]
Arrays: TypeAlias = dict[str, np.ndarray]
Metadata: TypeAlias = dict[str, str]

DTYPES = ("float32", "float64")
_FORMAT, _VERSION = "gmmx_eqx", 2


def write(path: Path, arrays: Arrays, metadata: Metadata) -> None:
    """Writes a file, or leaves what was there as it was."""
    header = {**metadata, "format": _FORMAT, "version": str(_VERSION)}
    header["checksum"] = checksum(arrays, header)
    _replace(path, _in_order(_package().numpy.save(arrays, header)))


def read(path: Path) -> tuple[Arrays, Metadata]:
    """The opposite of `write`.

    **Raises:**

    `ValueError` if the file is not as `write` left it; `OSError` if it cannot be read.
    """
    package = _package()
    if os.path.isdir(path):
        raise ValueError("it is a directory. Give the path of a file.")
    try:
        with package.safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            _check_format(metadata)
            arrays = {name: file.get_tensor(name) for name in file.keys()}
    except (FileNotFoundError, PermissionError):
        raise
    # An empty file cannot be mapped, and NumPy does not have every type.
    except (package.SafetensorError, OSError, TypeError, AttributeError) as error:
        raise ValueError(
            f"it is not a whole safetensors file ({error}). Copy or save it again."
        ) from error
    if checksum(arrays, metadata) != metadata.get("checksum"):
        raise ValueError(
            "its content does not match its checksum: it was damaged or edited. Copy "
            "or save it again."
        )
    return arrays, metadata


def _in_order(data: bytes) -> bytes:
    """The same file with its metadata in order, so that equal content is equal bytes.

    safetensors puts them in another order in every process.
    """
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[8 + size :]


def checksum(arrays: Arrays, metadata: Metadata) -> str:
    """The SHA-256 of all else that a file holds."""
    rest = sorted((key, metadata[key]) for key in metadata if key != "checksum")
    names = sorted(arrays)
    shapes = [(name, arrays[name].dtype.name, arrays[name].shape) for name in names]
    digest = hashlib.sha256(json.dumps([rest, shapes]).encode())
    for name in names:
        digest.update(arrays[name].tobytes())
    return digest.hexdigest()


def _check_format(metadata: Metadata) -> None:
    if metadata.get("format") != _FORMAT:
        raise ValueError(
            "it is a safetensors file that `gmmx_eqx.save` did not write. Read its "
            "arrays with `safetensors.numpy.load_file`, and build a mixture with "
            "`gmmx_eqx.GaussianMixture.from_squeezed`."
        )
    version = metadata.get("version", "")
    if not (version.isascii() and version.isdigit() and int(version) > 0):
        raise ValueError(
            f"its format version, {version!r}, is not a positive number. Save it again."
        )
    if int(version) > _VERSION:
        raise ValueError(
            f"its format version is {version}, and this version of gmmx_eqx reads at "
            f"most {_VERSION}. Upgrade: `pip install --upgrade gmmx_eqx`."
        )


def _replace(path: Path, data: bytes) -> None:
    target = os.path.realpath(path)  # a link stays one
    folder = os.path.dirname(target)
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"There is no directory {folder!r}. Create it first.")
    if os.path.isdir(target):
        raise IsADirectoryError(f"{target!r} is a directory. Give the path of a file.")
    # In the same directory: only within one file system is a renaming all or nothing.
    temporary = os.path.join(folder, f".gmmx_eqx-{secrets.token_hex(8)}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            # Or a power failure could leave the new name with nothing behind it.
            os.fsync(file.fileno())
        if os.path.exists(target):
            shutil.copymode(target, temporary)
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.remove(temporary)
        raise


def _package() -> Any:
    try:
        import safetensors.numpy
    except ImportError as error:
        raise ImportError(
            "This needs safetensors, which is an optional extra: "
            '`pip install "gmmx_eqx[safetensors]"`.'
        ) from error
    return safetensors
