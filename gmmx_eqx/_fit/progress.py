import abc


class AbstractProgress(abc.ABC):
    """Listens to a fit, or many, while they run; see `progress` of [`gmmx_eqx.fit`][].

    A subclass may keep what it likes. Its methods are called by the program that fits,
    from another thread, and must not use JAX.
    """

    @abc.abstractmethod
    def begin(self, unit: str, total: int | None) -> None:
        """Before the first step.

        **Arguments:**

        - `unit`: what is counted: `"step"` of one fit, or `"fit"` of many.
        - `total`: how many there will be, if that is known.
        """

    @abc.abstractmethod
    def update(self, n_done: int, log_likelihood: float, change: float) -> None:
        """After a step.

        **Arguments:**

        - `n_done`: how many steps were taken, or how many fits have ended.
        - `log_likelihood`: in nats, after so many steps; of many fits, the best that
            has ended. NaN before there is one.
        - `change`: by how much it grew since the last call. NaN where there was nothing
            to compare with, as in the first call.
        """

    @abc.abstractmethod
    def end(self) -> None:
        """After the last step, or when the fit was interrupted."""
