"""Whether every public name has a complete type, by pyright; `make lint` runs it.

python -m tests.complete_types
"""

import json
import os
import pathlib
import subprocess
import sys


ROOT = pathlib.Path(__file__).parents[1]

# These packages have no types, so that what is derived from their classes has none.
UNTYPED = {
    *(
        f"gmmx_eqx.{path}.{name}"
        for name, module in {
            "GaussianMixture": "estimator",
            "BayesianGaussianMixture": "bayesian",
            "MixtureClassifier": "classifier",
            "MixtureRegressor": "regressor",
        }.items()
        for path in ("sklearn", "interop.sklearn", f"interop.sklearn.{module}")
    ),
    "gmmx_eqx.interop.sklearn.regressor.MixtureRegressor.joint_",
    "gmmx_eqx.interop.distreqx.MixtureDistribution",
    "gmmx_eqx.interop.numpyro.MixtureDistribution",
}


def main() -> int:
    # It resolves imports by the first Python on the path.
    binaries = str(pathlib.Path(sys.executable).parent)
    done = subprocess.run(
        ["pyright", "--verifytypes", "gmmx_eqx", "--ignoreexternal", "--outputjson"],
        cwd=ROOT,
        env=os.environ
        | {
            "PATH": binaries + os.pathsep + os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        text=True,
    )
    report = json.loads(done.stdout)["typeCompleteness"]
    # Those that public ones refer to, too.
    symbols = report["symbols"]
    unknown = {s["name"] for s in symbols if not s["isTypeKnown"]} - UNTYPED
    for symbol in symbols:
        if symbol["name"] in unknown:
            messages = {d["message"] for d in symbol.get("diagnostics", [])}
            print(symbol["name"], *sorted(messages), sep="\n  ")
    print(f"{len(symbols)} symbols, {len(unknown)} without a complete type")
    return 1 if unknown or len(symbols) < 500 else 0


if __name__ == "__main__":
    sys.exit(main())
