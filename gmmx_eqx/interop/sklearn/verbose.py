import numpy as np

from ..._fit import Solution


def report(solutions: Solution, verbose: int, interval: int, seconds: float) -> None:
    """Prints how fits went, when they have ended: they are one program.

    **Arguments:**

    - `solutions`: of one fit or, with a leading axis, of many.
    - `verbose`: with more than one, changes of likelihood and the time are printed.
    - `interval`: every how many steps.
    - `seconds`: how long all of them took.
    """
    n_steps = np.atleast_1d(solutions.n_steps)
    converged = np.atleast_1d(solutions.converged)
    n_samples = np.atleast_1d(solutions.log_likelihood / solutions.mean_log_likelihood)
    histories = np.atleast_2d(solutions.log_likelihoods) / n_samples[:, None]
    for index, history in enumerate(histories):
        print(f"Initialization {index}")
        changes = np.diff(history, prepend=-np.inf)
        for step in range(interval, int(n_steps[index]) + 1, interval):
            change = f"\t ll change {changes[step - 1]:.5f}" if verbose > 1 else ""
            print(f"  Iteration {step}{change}")
        ending = "converged" if converged[index] else "did not converge"
        last = history[max(n_steps[index] - 1, 0)]
        bound = f"\t lower bound {last:.5f}." if verbose > 1 else ""
        print(f"Initialization {ending}.{bound}")
    if verbose > 1:
        print(f"time lapse {seconds:.5f}s")
