"""Contenders in processes of their own, which take turns."""

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any


ONE_THREAD = {"OMP_NUM_THREADS": "1"}


def peak_mib() -> float:
    """The most memory that this process has held, in MiB (Linux)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def time_of(run: Callable[[], Any], repeats: int) -> list[float]:
    """Seconds of each of `repeats` calls, after one that compiles."""
    run()
    seconds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - begin)
    return seconds


def ask(module: str, contender: str, environment: dict, limit: float, **request) -> Any:
    """What `python -m module CONTENDER REQUEST` prints as JSON; `None` if it fails, and
    says why, or takes more than `limit` seconds."""
    command = [sys.executable, "-m", module, contender, json.dumps(request)]
    environment = os.environ | environment
    # Bytecode of a checkout is kept as that of an installed package is.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, timeout=limit
        )
    except subprocess.TimeoutExpired:
        return None
    if done.returncode:
        reason = done.stderr.decode().strip().splitlines()[-1]
        print(f"{contender} failed: {reason[:160]}", flush=True)
        return None
    return json.loads(done.stdout)


def medians(
    module: str, rounds: int, limit: float = 600, **request
) -> dict[str, dict[str, float]]:
    """The medians of what ours and scikit-learn's processes print, which are numbers or
    lists of them by name; scikit-learn's at its better thread count for each."""
    runners = {
        "ours": ("ours", {}),
        "one thread": ("sklearn", ONE_THREAD),
        "all threads": ("sklearn", {}),
    }
    found: dict[str, dict[str, list[float]]] = {label: {} for label in runners}
    for _ in range(rounds):
        for label, (contender, environment) in runners.items():
            result = ask(module, contender, environment, limit, **request)
            for name, values in (result or {}).items():
                values = values if isinstance(values, list) else [values]
                found[label].setdefault(name, []).extend(values)
    median = {
        label: {name: statistics.median(values) for name, values in named.items()}
        for label, named in found.items()
    }
    one, several = median["one thread"], median["all threads"]
    sklearn = {name: min(one[name], several.get(name, one[name])) for name in one}
    return {"ours": median["ours"], "sklearn": sklearn}
