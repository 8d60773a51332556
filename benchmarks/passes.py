"""How far two passes come: stepwise and incremental EM beside steps of EM.

`python -m benchmarks.passes` prints, and writes to `benchmarks/results/passes.json`,
for each problem what is missing of the best log-likelihood that is known, per sample,
after two passes of each solver, and where EM and what goes on from two stepwise passes
end.
"""

import numpy as np

from .acceleration import overlapping
from .problem import Problem
from .record import write


MAX_STEPS, TOL = 5000, 1e-8

# name -> data and start
PROBLEMS = {
    "16 clusters, 8 features": Problem(200_000, 8, 16),
    "8 clusters, 16 features, diagonal": Problem(
        200_000, 16, 8, covariance_type="diag", seed=1
    ),
    "8 overlapping, 4 features": None,
}


def start_of(name: str):
    import jax
    import jax.numpy as jnp

    import gmmx_eqx as gx

    problem = PROBLEMS[name]
    if problem is None:
        x = overlapping(200_000, 4, 8, 1.0).astype(np.float32)
        return x, gx.GaussianMixture.from_k_means(x[:2000], 8, key=jax.random.key(0))
    weights, means, covariances = problem.start()
    start = gx.GaussianMixture.from_squeezed(
        jnp.asarray(means),
        jnp.asarray(covariances),
        jnp.asarray(weights),
        problem.covariance_type,
    )
    return problem.data(), start


def compare(name: str) -> dict[str, object]:
    import gmmx_eqx as gx

    x, start = start_of(name)

    def fit(solver, mixture=start):
        return gx.fit(mixture, x, solver=solver, throw=False)

    of = lambda solution: float(solution.mean_log_likelihood)
    em, squarem = (cls(tol=TOL, max_steps=MAX_STEPS) for cls in (gx.EM, gx.SQUAREM))
    two = {
        "EM": fit(gx.EM(tol=0.0, max_steps=2)),
        "Stepwise": fit(gx.Stepwise()),
        "Incremental": fit(gx.Incremental(passes=2)),
    }
    ends = {
        "EM": fit(em),
        "Stepwise, then EM": fit(em, two["Stepwise"].mixture),
        "Stepwise, then SQUAREM": fit(squarem, two["Stepwise"].mixture),
    }
    best = max(map(of, ends.values()))
    gaps = {solver: best - of(solution) for solver, solution in two.items()}
    return {
        "problem": name,
        "start": best - float(start.score(x)),
        "gap_after_two": gaps,
        "ratio": {solver: gap / gaps["EM"] for solver, gap in gaps.items()},
        "ends": {solver: of(solution) for solver, solution in ends.items()},
        "n_steps": {solver: int(solution.n_steps) for solver, solution in ends.items()},
    }


def main() -> None:
    records = []
    for name in PROBLEMS:
        records.append(compare(name))
        for key, value in records[-1].items():
            print(f"{key}: {value}", flush=True)
    write(records, "passes")


if __name__ == "__main__":
    main()
