"""Tables of measurements show what stands in the files of `benchmarks/results`."""

import json
import pathlib
import re
from typing import Any

import pytest


ROOT = pathlib.Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"

pytestmark = pytest.mark.x32

# The name of the file stands before a table.
_TABLE = re.compile(r"^<!-- figures: (\w+) -->\n\n((?:\|.*\n)+)", re.MULTILINE)
# What a table does not say of a problem.
_CENTRE = {
    "n_samples": 65536,
    "n_features": 32,
    "n_components": 64,
    "covariance_type": "full",
}
_COLUMNS = {
    "type": "dtype",
    "family": "covariance_type",
    "samples": "n_samples",
    "features": "n_features",
    "components": "n_components",
    "widths": "separation",
}
_TASKS = {"mixture of iris": "iris", "ten": "classes", "5 folds": "search"}
_PROCESSES = {"gmmx_eqx": "ours", "cached": "ours, cached"}


def _tables(page: str) -> list[tuple[str, list[dict[str, str]]]]:
    """The file of each, and its rows, by the names of columns."""
    found = []
    for name, table in _TABLE.findall((ROOT / page).read_text(encoding="utf-8")):
        lines = [line.strip("|\n").split("|") for line in table.splitlines()]
        head, _, *rows = [[cell.strip() for cell in line] for line in lines]
        found.append((name, [dict(zip(head, row, strict=True)) for row in rows]))
    return found


def _load(name: str) -> Any:
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def _check(shown: str, value: float) -> None:
    """To the last digit that is shown."""
    digits = len(shown.partition(".")[2])
    assert abs(float(shown) - value) <= 0.5001 * 10**-digits, (shown, value)


def _check_step(row: dict[str, str], records: list[dict]) -> None:
    problem: dict[str, Any] = dict(_CENTRE)
    for column, key in _COLUMNS.items():
        if column in row:
            problem[key] = int(row[column]) if row[column].isdigit() else row[column]
    (record,) = [
        record for record in records if problem.items() <= record["problem"].items()
    ]
    median = record["median"]
    _check(row["gmmx_eqx"], 1e3 * median["gmmx_eqx"])
    peers = [value for name, value in median.items() if "sklearn" in name]
    theirs = min(peers, default=float("nan"))
    if not peers:
        assert row["scikit-learn"] == "failed"
    else:
        _check(row["scikit-learn"], 1e3 * theirs)
    if peers and "ratio" in row:
        _check(row["ratio"], theirs / median["gmmx_eqx"])
    if "gmmx" in row and "gmmx" in median:
        _check(row["gmmx"], 1e3 * median["gmmx"])
    elif "gmmx" in row:
        assert row["gmmx"] == ("-" if problem["dtype"] == "float32" else "")


def _check_acceleration(rows: list[dict[str, str]], records: list[dict]) -> None:
    for row, record in zip(rows, records, strict=True):
        problem = {key: str(record["problem"][key]) for key in ("components", "family")}
        assert problem.items() <= row.items()
        names = {"EM": "EM", "SQUAREM": "SQUAREM", "scikit-learn": "sklearn"}
        for column, contender in names.items():
            assert int(row[column]) == record[contender]["n_steps"]


def _check_first_results(rows: list[dict[str, str]], results: dict) -> None:
    task = {}
    for row in rows:
        if row["task"]:
            names = [name for words, name in _TASKS.items() if words in row["task"]]
            task = results[names[0] if names else "sweep"]
        record = task[_PROCESSES.get(row[""], "sklearn, one thread")]
        _check(row["first"], record["wall"])
        _check(row["CPU time"], record["CPU"])
        _check(row["again"], record["again"])
        assert row["programs"] in ("", f"{record['programs']:.0f}")


def _check_retrieval(rows: list[dict[str, str]], results: dict) -> None:
    cells = [
        (size["n_samples"], *both)
        for size in results["sizes"]
        for both in zip(size["ours"]["cells"], size["sklearn"]["cells"], strict=True)
    ]
    for row, (n_samples, *both) in zip(rows, cells, strict=True):
        assert int(row["samples"].replace(" ", "")) == n_samples
        for cell, owner in zip(both, ("", ", theirs"), strict=True):
            assert cell["status"] in ("successful", "converged")
            assert int(row["components"]) == cell["n_components"]
            assert int(row[f"steps{owner}"]) == cell["n_steps"]
            assert int(row[f"narrow{owner}"]) == cell["collapsed"]
            _check(row[f"held out{owner}"], cell["held_out"])


def _check_fits_of_blocks(rows: list[dict[str, str]], results: dict) -> None:
    for row in rows:
        result = results[row["ended by"]]
        _check(row["seconds"], result["seconds"])
        _check(row["of the CPU"], result["cpu_seconds"])
        # One more for what is known of all samples.
        assert int(row["passes"]) == result["n_steps"] + 1
        _check(row["memory, MiB"], result["mib_above"])


def _check_many(rows: list[dict[str, str]], records: list[dict]) -> None:
    for row, record in zip(rows, records, strict=True):
        size = [int(row[name]) for name in ("samples", "components", "features")]
        if "sets" in record:
            n_sets, n_samples, n_features = record["sets"]
            assert (size, n_sets) == ([n_samples, 2, n_features], 1000)
            assert record["dtype"] in row["what"]
        else:
            assert size == record.get("restarts", record.get("race"))
        for column, name in (("gmmx_eqx", "gmmx_eqx"), ("scikit-learn", "sklearn")):
            _check(row[column], 1e3 * record[name])
        _check(row["ratio"], record["sklearn"] / record["gmmx_eqx"])


@pytest.mark.parametrize(
    ("page", "n_tables"),
    [
        ("README.md", 1),
        ("docs/speed.md", 8),
        ("docs/priors.md", 1),
        ("docs/blocks.md", 1),
    ],
)
def test_tables(page, n_tables):
    tables = _tables(page)
    assert len(tables) == n_tables
    for name, rows in tables:
        results = _load(name)
        if name == "acceleration":
            _check_acceleration(rows, results["records"])
        elif name == "first_result":
            _check_first_results(rows, results["records"])
        elif name == "retrieval":
            _check_retrieval(rows, results["records"])
        elif name == "many":
            _check_many(rows, results["records"])
        elif name == "fit_blocks":
            _check_fits_of_blocks(rows, results["records"])
        else:
            for row in rows:
                _check_step(row, results["records"])
