"""Times one contender on one problem: `python -m benchmarks.worker NAME JSON`."""

import json
import resource
import sys
import time

from .contenders import CONTENDERS
from .problem import Problem


def main() -> None:
    name, request = sys.argv[1], json.loads(sys.argv[2])
    few, many, repeats = request.pop("steps")
    run = CONTENDERS[name](Problem(**request))
    # Compile, and show that all contenders do the same work.
    log_likelihood = [run(few), run(many)]
    seconds = []
    for _ in range(repeats):
        times = []
        for n_steps in (few, many):
            begin = time.perf_counter()
            run(n_steps)
            times.append(time.perf_counter() - begin)
        # The difference leaves out what does not grow with the steps.
        seconds.append((times[1] - times[0]) / (many - few))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"s": seconds, "log_likelihood": log_likelihood, "MiB": peak}))


main()
