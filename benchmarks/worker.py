"""Times one contender on one problem: `python -m benchmarks.worker NAME JSON`."""

import json
import sys
import time

from .contenders import CONTENDERS
from .problem import Problem
from .processes import peak_mib
from .timing import seconds_per_step


def main() -> None:
    name, request = sys.argv[1], json.loads(sys.argv[2])
    few, many, repeats = request.pop("steps")
    run = CONTENDERS[name](Problem(**request))
    # Compile, and show that all contenders do the same work.
    log_likelihood = [run(few), run(many)]
    seconds = seconds_per_step(run, few, many, repeats)
    result = {"s": seconds, "log_likelihood": log_likelihood, "MiB": peak_mib()}
    if name == "gmmx_eqx":
        result["flops"] = matmul_rate(request["dtype"])
    print(json.dumps(result))


def matmul_rate(dtype: str) -> float:
    """Floating-point operations per second of a large matrix product, in JAX."""
    import jax
    import jax.numpy as jnp

    size, n_products = 1024, 4
    a = jnp.full((size, size), 1 / size, dtype)
    run = jax.jit(lambda a: a @ a @ a @ a @ a)
    jax.block_until_ready(run(a))
    seconds = []
    for _ in range(10):
        begin = time.perf_counter()
        jax.block_until_ready(run(a))
        seconds.append(time.perf_counter() - begin)
    return n_products * 2 * size**3 / min(seconds)


main()
