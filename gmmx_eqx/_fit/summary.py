"""How fits ended, in words."""

from typing import Any

import numpy as np

from .._core.results import RESULTS


def of_fit(
    status: str, n_steps: Any, value: Any, mean: Any, log_prior: Any = None
) -> tuple[str, str]:
    """One fit: its status and its log-likelihood, in all and of the mean."""
    more = "" if log_prior is None else f"; log-prior {nats(log_prior)} nats"
    cause = RESULTS[getattr(RESULTS, status)].split(". ")[0]
    cause = f": {cause}" if cause else ""
    steps = "1 step" if int(n_steps) == 1 else f"{int(n_steps)} steps"
    return (
        f"{status} after {steps}{cause}",
        f"log-likelihood {nats(value)} nats, mean {float(mean):.6g}{more}",
    )


def of_fits(statuses: np.ndarray) -> str:
    """How many fits there are, and of which status, the most frequent first."""
    names, counts = np.unique(statuses, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    parts = ", ".join(f"{counts[i]} {names[i]}" for i in order)
    fits = "1 fit" if statuses.size == 1 else f"{statuses.size} fits"
    return f"{fits}, {parts}"


def nats(value: Any) -> str:
    """With two decimals, as many as say something of a sum over samples; of a small one
    four digits."""
    value = float(value)
    return f"{value:.2f}" if abs(value) >= 10 else f"{value:.4g}"
