import time
from collections.abc import Callable


def seconds_per_step(
    run: Callable[[int], object], few: int, many: int, repeats: int
) -> list[float]:
    """From the difference of two runs, which leaves out what does not grow with the
    number of steps. `run` must have been compiled before."""
    seconds = []
    for _ in range(repeats):
        times = []
        for n_steps in (few, many):
            begin = time.perf_counter()
            run(n_steps)
            times.append(time.perf_counter() - begin)
        seconds.append((times[1] - times[0]) / (many - few))
    return seconds
