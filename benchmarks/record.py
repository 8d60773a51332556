"""Files of measurements, `benchmarks/results/*.json`, with where they were made."""

import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
import subprocess
from typing import Any


RESULTS = pathlib.Path(__file__).parent / "results"
_PACKAGES = (
    "gmmx_eqx",
    "jax",
    "jaxlib",
    "equinox",
    "scikit-learn",
    "numpy",
    "gmmx",
)


def write(records: Any, name: str) -> None:
    """Writes `results/NAME.json`, and says so."""
    provenance = {
        "date": datetime.date.today().isoformat(),
        "commit": _commit(),
        "python": platform.python_version(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({**provenance, "records": records}, indent=1) + "\n")
    print(f"{provenance['processor']}, {provenance['cores']} cores; wrote {path.name}")


def _commit() -> str:
    """Of the checkout, with a plus sign where files differ from it."""
    command = ["git", "describe", "--always", "--dirty=+", "--abbrev=12"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=RESULTS.parent)
    return done.stdout.strip() or "unknown"


def _processor() -> str:
    info = pathlib.Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if "model name" in line]
    return names[0] if names else platform.processor()
