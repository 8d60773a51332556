import numpy as np
from jaxtyping import Bool, Float, Int


def report(
    histories: Float[np.ndarray, "fits history"],
    n_steps: Int[np.ndarray, " fits"],
    converged: Bool[np.ndarray, " fits"],
    verbose: int,
    interval: int,
    seconds: float,
) -> None:
    """Prints how fits went, when they have ended: programs print nothing.

    **Arguments:**

    - `histories`: what each of them maximised, for every step.
    - `n_steps`, `converged`: how many steps each took, and whether it settled.
    - `verbose`: with more than one, changes of `histories` and the time are printed.
    - `interval`: every how many steps.
    - `seconds`: how long all of them took.
    """
    for index, history in enumerate(histories):
        print(f"Initialization {index}")
        changes = np.diff(history[: n_steps[index]], prepend=-np.inf)
        for step in range(interval, int(n_steps[index]) + 1, interval):
            change = f"\t ll change {changes[step - 1]:.5f}" if verbose > 1 else ""
            print(f"  Iteration {step}{change}")
        ending = "converged" if converged[index] else "did not converge"
        last = history[max(n_steps[index] - 1, 0)]
        bound = f"\t lower bound {last:.5f}." if verbose > 1 else ""
        print(f"Initialization {ending}.{bound}")
    if verbose > 1:
        print(f"time lapse {seconds:.5f}s")
