"""How a pass over blocks goes, told to who listens."""

import time

from .._sources import Blocks
from .progress import AbstractBlockProgress, listener_of, Ticket


class Pace:
    """Tells a listener after every block how much of the pass is done, and since when
    it takes."""

    def __init__(self, listener: AbstractBlockProgress, data: Blocks):
        self._listener = listener
        self._data = data
        self._began = 0.0

    @classmethod
    def of(cls, data: Blocks, ticket: Ticket | None) -> "Pace | None":
        """`None` unless somebody listens who wants to know."""
        listener = listener_of(ticket)
        if isinstance(listener, AbstractBlockProgress):
            return cls(listener, data)
        return None

    def __call__(self, n_blocks: int) -> None:
        """After `n_blocks` of the pass; zero before the first."""
        now = time.perf_counter()
        if n_blocks == 0:
            self._began = now
            return
        n_samples = self._data.shape[0]
        n_read = min(n_blocks * self._data.rows, n_samples)
        self._listener.update_pass(n_read, n_samples, now - self._began)
