"""Other processes, which compute with blocks that they read themselves."""

import concurrent.futures
import io
import pickle
import sys
import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any, TYPE_CHECKING, TypeAlias, TypeVar

import jax

from .._core.describe import describe
from .._core.processes import check_process
from .._core.threads import settings, under
from .handles import dump


_Item = TypeVar("_Item")
_Found = TypeVar("_Found")
# Checked by hand: see `likes`.
if TYPE_CHECKING:
    ExecutorLike: TypeAlias = Any
else:
    ExecutorLike = Annotated[Any, ""]

# How often workers may be killed before the next result.
_PATIENCE = 3


class Workers:
    """An executor, or a function that makes one and makes another when that breaks.

    Of an executor nothing but `submit` is used.
    """

    def __init__(self, executor: ExecutorLike):
        self._make: Callable[[], Any] | None = None
        self._lock = threading.Lock()
        if _submits(executor):
            self._executor = _checked(executor)
        elif callable(executor):
            self._make = executor
            self._executor = _checked(executor())
        else:
            raise ValueError(_EXPECTED.format(describe(executor)))

    def run(
        self,
        task: Callable[[_Item], Callable[[], _Found]],
        items: Sequence[_Item],
        ahead: int | None = None,
    ) -> Iterator[_Found]:
        """What `task` of every item returns when it is called by a worker, in order.

        **Arguments:**

        - `ahead`: how many tasks may wait for a worker, or have results that wait to
            be taken; all of them if not given.
        """
        # An engine that takes equal tasks for one must not answer from another pass.
        own = uuid.uuid4().hex
        of_caller = _versions(), settings(), own
        waiting: deque[concurrent.futures.Future[_Found]] = deque()
        n_taken = n_broken = 0
        try:
            while n_taken < len(items):
                executor = self._executor
                stop = len(items) if ahead is None else n_taken + ahead
                try:
                    for item in items[n_taken + len(waiting) : stop]:
                        content = _pickled(task(item))
                        waiting.append(executor.submit(_run, content, *of_caller))
                    found = waiting[0].result()
                except concurrent.futures.BrokenExecutor as error:
                    waiting.clear()
                    n_broken += 1
                    self._begin_again(executor, error, n_broken)
                    continue
                waiting.popleft()
                n_taken, n_broken = n_taken + 1, 0
                yield found
        finally:
            for future in waiting:
                future.cancel()

    def _begin_again(self, broken: Any, error: Exception, n_broken: int) -> None:
        if self._make is None:
            raise RuntimeError(
                "A worker was killed, and an executor of this kind does not go on "
                "without it. Give a function that makes one, `executor=lambda: "
                "ProcessPoolExecutor(...)`, and a pass goes on with another."
            ) from error
        if n_broken >= _PATIENCE:
            raise RuntimeError(
                f"Workers were killed {n_broken} times in the same part of a pass. "
                "They may be short of memory: take smaller `rows`, or fewer workers."
            ) from error
        with self._lock:
            # Of several passes at a time, the first one to see it makes another.
            if self._executor is broken:
                self._executor = _checked(self._make())


_EXPECTED = (
    "`executor` must have `submit`, as those of `concurrent.futures` and "
    "`client.get_executor()` of Dask have, or be a function that makes one; got {}."
)


def _submits(executor: Any) -> bool:
    return hasattr(executor, "submit") and not isinstance(executor, type)


def _checked(executor: Any) -> Any:
    if not _submits(executor):
        raise ValueError(
            _EXPECTED.format(f"a function that returns {describe(executor)}")
        )
    # Not public. Where there is no such thing, a forked worker says so itself.
    context = getattr(executor, "_mp_context", None)
    if context is not None and context.get_start_method() == "fork":
        raise ValueError(
            "`executor` forks its workers, which would have none of JAX's threads and "
            "wait for ever. Use `ProcessPoolExecutor(..., "
            'mp_context=multiprocessing.get_context("spawn"))`.'
        )
    return executor


def _versions() -> dict[str, str]:
    own = __name__.partition(".")[0]
    return {own: sys.modules[own].__version__, "jax": jax.__version__}


def _pickled(call: Callable[[], Any]) -> bytes:
    content = io.BytesIO()
    try:
        dump(call, content)
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise ValueError(
            f"What is to be computed cannot be pickled for a worker: {error}. Use a "
            "function of a module rather than one inside another, or install "
            "cloudpickle."
        ) from error
    return content.getvalue()


def _run(
    content: bytes, versions: dict[str, str], of_caller: dict[str, Any], own: str
) -> Any:
    """What a worker does. Its arguments are bytes, since JAX would round float64 arrays
    where the caller's settings are not yet those of the worker."""
    del own
    check_process()
    if versions != _versions():
        raise RuntimeError(
            f"A worker has other versions, {_versions()}, than the process that it "
            f"works for, {versions}."
        )
    with under(of_caller):
        try:
            return pickle.loads(content)()
        except Exception as error:
            raise _portable(error) from None


def _portable(error: Exception) -> Exception:
    """The error, or its text if it would not survive a pickle: that breaks a pool."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        plain = RuntimeError(f"{type(error).__name__}: {error}")
        for note in getattr(error, "__notes__", ()):
            plain.add_note(note)
        return plain
    return error
