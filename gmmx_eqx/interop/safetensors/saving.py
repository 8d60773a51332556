import contextlib
import os
from typing import Any

import jax
import numpy as np

from ..._core.describe import describe
from ..._core.processes import check_process
from . import contents, files
from .contents import Content, WrongContent


# What files of other formats end in.
_OTHERS = (
    *(".npz", ".npy", ".pkl", ".pickle", ".joblib", ".eqx", ".msgpack"),
    *(".h5", ".hdf5", ".json", ".csv", ".mat", ".pt", ".pth", ".zip"),
)


def save(path: files.Path, what: Any) -> None:
    """Saves a mixture, or the result of a fit, in a safetensors file.

    The file holds arrays and plain text alone: no code can run when it is loaded. An
    older file of that name is replaced in one step, once the new one is whole, so that
    whenever the process dies one of the two is there. Equal content gives equal bytes.
    Needs the extra `safetensors`.

    **Arguments:**

    - `path`: where to; a name that ends in `.safetensors` by custom.
    - `what`: a [`gmmx_eqx.GaussianMixture`][], a [`gmmx_eqx.Solution`][] or a
        [`gmmx_eqx.Population`][]; also with leading axes, as an ensemble or the result
        of [`gmmx_eqx.fit_batch`][] has them.

    **Raises:**

    `ValueError`, before anything is written, for a name that ends as those of another
    format do, such as `.npz`, and for what could not be loaded: something else, an
    unregistered family, a mixture without a density (except where the `result` beside
    it says that the fit failed). `OSError` if the file cannot be written.

    **Example:**

    ```python
    mixture = gx.GaussianMixture.create(n_components=2, n_features=3)
    gx.save("mixture.safetensors", mixture)
    ```
    """
    _check_path(path)
    try:
        arrays, metadata = contents.take_apart(what)
        # float64 can be had with x64 off, by scikit-learn's estimator for one.
        wide = metadata["dtype"] == "float64"
        with jax.enable_x64(True) if wide else contextlib.nullcontext():
            contents.put_together(arrays, metadata)
    except ValueError as error:
        raise ValueError(f"`what` cannot be saved: {error}") from error
    files.write(path, arrays, metadata)


def load(path: files.Path, *, dtype: Any = None) -> Content:
    """What [`gmmx_eqx.save`][] saved, bit by bit.

    Everything is checked: the checksum of the file, names, types and shapes of its
    arrays, and that they make a mixture. Needs the extra `safetensors`.

    **Arguments:**

    - `path`: of the file.
    - `dtype`: float32 or float64, to which all floating-point numbers are then rounded;
        those of the file if not given.

    **Returns:**

    A mixture, a solution or a population, as it was saved. Its family must be
    registered; see [`gmmx_eqx.extend.register_covariance`][].

    **Raises:**

    `ValueError`, naming the file, if it is damaged, of another origin, or of a later
    format; if it holds float64, JAX's x64 mode is off, and no other `dtype` is given.
    `OSError` if there is no such file or it may not be read.

    **Example:**

    ```python
    gx.save("mixture.safetensors", gx.GaussianMixture.create(2, 3))
    print(gx.load("mixture.safetensors").n_features)
    ```

    ```text
    3
    ```
    """
    check_process()
    wanted = None if dtype is None else _as_dtype(dtype)
    try:
        arrays, metadata = files.read(path)
        return contents.put_together(arrays, metadata, wanted)
    except ValueError as error:
        remedy = " Save it again." if isinstance(error, WrongContent) else ""
        if _ending(path) == ".npz":
            read = "gx.GaussianMixture.from_numpy(np.load(path))"
            remedy = f" If NumPy wrote it, use `{read}`."
        raise ValueError(
            f"{os.fspath(path)!r} cannot be loaded: {error}{remedy}"
        ) from error


def _check_path(path: Any) -> None:
    if not isinstance(path, str | os.PathLike):
        raise ValueError(f"`path` must be the name of a file; got {describe(path)}.")
    ending = _ending(path)
    if ending not in _OTHERS:
        return
    numpy = " For one of NumPy, use `np.savez(path, **mixture.to_numpy())`."
    raise ValueError(
        f"`path` must not end in {ending!r}, as files of another format do. Let it end "
        "in '.safetensors', which is what is written."
        + (numpy if ending in (".npz", ".npy") else "")
    )


def _ending(path: files.Path) -> str:
    return os.path.splitext(os.fspath(path))[1].lower()


def _as_dtype(dtype: Any) -> np.dtype:
    with contextlib.suppress(TypeError):
        if np.dtype(dtype).name in files.DTYPES:
            return np.dtype(dtype)
    raise ValueError(f"`dtype` must be float32 or float64; got {dtype!r}.")
