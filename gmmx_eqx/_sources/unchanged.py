"""Whether a file is still what it was."""

import os
from typing import Any, NamedTuple

import numpy as np


class File(NamedTuple):
    """A file that is read, as it was at first.

    **Attributes:**

    - `time`: when it was written last, in nanoseconds; `None` if who reads may write.
    """

    path: str
    size: int
    time: int | None

    @classmethod
    def of(cls, x: Any) -> "File | None":
        """The file behind a memory map, or a data set of h5py; `None` where it is not
        known."""
        path, is_fixed = _path_of(x)
        if path is None:
            return None
        try:
            found = os.stat(path)
        except OSError:
            return None
        return cls(path, found.st_size, found.st_mtime_ns if is_fixed else None)

    def check(self) -> None:
        """Raises a `ValueError` if it has changed."""
        try:
            found = os.stat(self.path)
        except OSError as error:
            raise ValueError(
                f"The file `{self.path}` cannot be read any more: {error}."
            ) from error
        if found.st_size != self.size:
            raise ValueError(
                f"The file `{self.path}` has changed: it had {self.size} bytes, and "
                f"has {found.st_size} now. Open it again, and make new blocks."
            )
        if self.time is not None and found.st_mtime_ns != self.time:
            raise ValueError(
                f"The file `{self.path}` has been written to since its blocks were "
                "made. Open it again, and make new blocks."
            )


def _path_of(x: Any) -> tuple[str | None, bool]:
    """The path, and whether nothing is written through `x` itself."""
    if isinstance(x, np.memmap):
        name = x.filename
        # Of a map that can be written to, the system writes when it likes.
        return None if name is None else os.fspath(name), x.mode in ("r", "c")
    if type(x).__module__.partition(".")[0] == "h5py" and hasattr(x, "file"):
        return str(x.file.filename), x.file.mode == "r"
    return None, False
