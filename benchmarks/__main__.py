"""Seconds per EM step, each contender in a process of its own.

`python -m benchmarks [--quick | --full | --separations]` prints a table and writes
`benchmarks/results/*.json`. The limit is the time that the two matrix products of a
step would take at the rate of one large product.
"""

import argparse
import statistics

from .problem import Problem
from .processes import ask, ONE_THREAD
from .record import write


# (contender, environment): which is the best thread count differs by problem.
RUNNERS = {
    "gmmx_eqx": ("gmmx_eqx", {}),
    "sklearn, 1 thread": ("sklearn", ONE_THREAD),
    "sklearn, all threads": ("sklearn", {}),
    "gmmx": ("gmmx", {}),
}


GRIDS: dict[str, list[dict]] = {
    "corners": [
        {"n_features": d, "n_components": k} for d in (8, 32) for k in (16, 64)
    ],
    "components": [{"n_components": k} for k in (2, 4, 8, 16, 32, 64)],
    "features": [{"n_features": d} for d in (2, 4, 8, 16)],
    "samples": [{"n_samples": n} for n in (256, 1024, 4096, 16384)],
    "families": [{"covariance_type": c} for c in ("tied", "diag", "spherical")],
}
# Distances between clusters, in widths.
SEPARATIONS = [
    {"n_components": 16, "covariance_type": family, "separation": float(separation)}
    for family in ("full", "tied", "diag", "spherical")
    for separation in (1, 3, 10, 30, 100, 1000)
]
CENTRE = {"n_samples": 65536, "n_features": 32, "n_components": 64}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--quick", action="store_true", help="fewer samples")
    parser.add_argument("--full", action="store_true", help="all grids")
    parser.add_argument(
        "--separations", action="store_true", help="clusters near and far"
    )
    parser.add_argument("--rounds", type=int, default=3, help="interleaved runs")
    parser.add_argument("--limit", type=float, default=150, help="seconds per process")
    options = parser.parse_args()
    rounds = options.rounds
    points = [{**CENTRE, **p} for p in GRIDS["corners"]]
    if options.full:
        points = [{**CENTRE, **p} for grid in GRIDS.values() for p in grid]
    if options.separations:
        points = [{**CENTRE, **p} for p in SEPARATIONS]
    if options.quick:
        points = [{**p, "n_samples": 8192} for p in points]
    points = list({tuple(p.items()): p for p in points}.values())
    problems = [
        Problem(**point, dtype=dtype)
        for dtype in ("float32", "float64")
        for point in points
    ]
    # gmmx has neither these families nor float64.
    names = [n for n in RUNNERS if n != "gmmx" or not options.separations]
    records = [measure(p, names, rounds, options.limit) for p in problems]
    summarise(records)
    name = "em_step_full" if options.full else "em_step"
    write(records, "separations" if options.separations else name)


def measure(problem: Problem, names: list[str], rounds: int, limit: float) -> dict:
    """Interleaved rounds of the contenders; prints one line."""
    seconds: dict[str, list[float]] = {name: [] for name in names}
    likelihoods, peaks, rates = {}, {}, []
    for _ in range(rounds):
        for name in names:
            # gmmx computes in float32 alone; who runs out of time is not asked again.
            not_asked = name == "gmmx" and problem.dtype == "float64"
            if not_asked or name in peaks and not seconds[name]:
                continue
            result = run_worker(name, problem, limit)
            peaks[name] = result and result["MiB"]
            if result:
                seconds[name] += result["s"]
                likelihoods[name] = result["log_likelihood"][0]
                rates += [result["flops"]] if "flops" in result else []
    check_same(likelihoods)
    record = {
        "problem": vars(problem),
        "seconds_per_step": seconds,
        "peak_MiB": peaks,
        "matmul_flops": max(rates, default=None),
        "median": {n: statistics.median(s) for n, s in seconds.items() if s},
    }
    print(line(record), flush=True)
    return record


def line(record: dict) -> str:
    problem, medians = record["problem"], record["median"]
    text = (
        f"{problem['dtype']} {problem['covariance_type']:9s} "
        f"N={problem['n_samples']:<6} D={problem['n_features']:<3} "
        f"K={problem['n_components']:<3}"
    )
    if problem["separation"] is not None:
        text += f" separation {problem['separation']:<5g}"
    if "gmmx_eqx" not in medians:
        return f"{text} gmmx_eqx: not done"
    ours = medians["gmmx_eqx"]
    text += f" gmmx_eqx {1e3 * ours:8.2f} ms (limit {1e3 * limit_of(record):6.2f})"
    for peer, value in peers(medians).items():
        text += f"   {peer} {1e3 * value:8.1f} ms ({value / ours:4.1f} x)"
    return text


def limit_of(record: dict) -> float:
    """Seconds that the two matrix products of a step would take by themselves."""
    problem = record["problem"]
    d = problem["n_features"]
    products = {"full": d * (d + 1) // 2, "diag": d, "spherical": 1, "tied": 0}
    packed = products[problem["covariance_type"]] + d + 1
    flops = 4 * problem["n_samples"] * problem["n_components"] * packed
    return flops / record["matmul_flops"]


def peers(medians: dict[str, float]) -> dict[str, float]:
    """scikit-learn at its better thread count, and gmmx."""
    found = {}
    sklearn = [value for name, value in medians.items() if name.startswith("sklearn")]
    if sklearn:
        found["scikit-learn"] = min(sklearn)
    if "gmmx" in medians:
        found["gmmx"] = medians["gmmx"]
    return found


def summarise(records: list[dict]) -> None:
    for dtype in ("float32", "float64"):
        for peer in ("scikit-learn", "gmmx"):
            ratios = [
                peers(r["median"])[peer] / r["median"]["gmmx_eqx"]
                for r in records
                if r["problem"]["dtype"] == dtype
                and "gmmx_eqx" in r["median"]
                and peer in peers(r["median"])
            ]
            if ratios:
                mean = statistics.geometric_mean(ratios)
                print(
                    f"{dtype}: {mean:.1f} times {peer} (geometric mean of "
                    f"{len(ratios)} points, {min(ratios):.1f} to {max(ratios):.1f})"
                )


def run_worker(name: str, problem: Problem, limit: float) -> dict | None:
    contender, environment = RUNNERS[name]
    few, many, repeats = {"sklearn": (1, 3, 2), "gmmx": (1, 3, 1)}.get(
        contender, (3, 9, 5)
    )
    # Steps of little data are too short to time.
    many = few + (many - few) * max(1, 16384 // problem.n_samples)
    request = vars(problem) | {"steps": [few, many, repeats]}
    return ask("benchmarks.worker", contender, environment, limit, **request)


def check_same(likelihoods: dict[str, float]) -> None:
    """All contenders must have done the same steps from the same start."""
    # gmmx_eqx takes more steps than its slower peers are given.
    peers = [value for name, value in likelihoods.items() if name != "gmmx_eqx"]
    if peers and max(peers) - min(peers) > 1e-3 * abs(peers[0]):
        raise RuntimeError(f"The contenders disagree: {likelihoods}.")


if __name__ == "__main__":
    main()
