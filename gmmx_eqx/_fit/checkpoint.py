"""States of a fit in a file, from which it goes on."""

import hashlib
import io
import json
import os
from pathlib import Path
from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from .._sources import Blocks


_Tree = TypeVar("_Tree", bound=PyTree)

_VERSION = 1
_NAME = "checkpoint"


class Checkpoint:
    """Where a fit is, in one file of a folder, which is replaced as a whole: a process
    that is killed leaves the one before.

    It belongs to one start, or as many as there are fits, one set of options and one
    data set.
    """

    def __init__(self, folder: Path, start: PyTree, data: Blocks, options: PyTree):
        self._path = folder / _NAME
        self._of = {
            "version": _VERSION,
            "data": data.fingerprint(),
            "start": _digest(start),
            "options": _digest(options),
        }
        folder.mkdir(parents=True, exist_ok=True)

    def save(self, state: PyTree) -> None:
        """Replaces what is there."""
        leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(state)]
        payload = io.BytesIO()
        np.savez(payload, *leaves)
        body = payload.getvalue()
        header = {**self._of, "sum": hashlib.sha256(body).hexdigest()}
        # In the same folder: a rename across file systems is not atomic.
        beside = self._path.with_suffix(".new")
        with open(beside, "wb") as file:
            file.write(json.dumps(header).encode() + b"\n" + body)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, self._path)

    def load(self, like: _Tree) -> _Tree:
        """The state that was saved, or `like` if there is none.

        **Raises:**

        `ValueError` if the file is not whole, or is of another fit.
        """
        if not self._path.exists():
            return like
        head, _, body = self._path.read_bytes().partition(b"\n")
        try:
            header = json.loads(head)
        except ValueError:
            header = {}
        if not isinstance(header, dict) or header.get("version") != _VERSION:
            raise ValueError(
                f"`{self._path}` is no checkpoint of this version of the library. "
                "Delete it, or give another folder."
            )
        if hashlib.sha256(body).hexdigest() != header.get("sum"):
            raise ValueError(
                f"`{self._path}` is not whole: it was cut off or changed. Delete it, "
                "and the fit begins again."
            )
        other = {
            "data": "other data, or the data has changed since",
            "start": "another start",
            "options": "other options",
        }
        for name, described in other.items():
            if header.get(name) != self._of[name]:
                raise ValueError(
                    f"`{self._path}` is the checkpoint of a fit with {described}. "
                    "Delete it, or give another folder."
                )
        with np.load(io.BytesIO(body)) as arrays:
            leaves = [jnp.asarray(arrays[name]) for name in arrays.files]
        return jax.tree.unflatten(jax.tree.structure(like), leaves)


def _digest(tree: PyTree) -> str:
    digest = hashlib.sha256(str(jax.tree.structure(tree)).encode())
    for leaf in jax.tree.leaves(eqx.filter(tree, eqx.is_array)):
        array = np.asarray(leaf)
        digest.update(repr((array.shape, array.dtype.str)).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:32]
