"""What an installed wheel has to be good for, without extras and outside of a checkout.

Run as `python smoke.py` where the library is installed.
"""

import importlib.metadata
import importlib.resources
import sys

import jax.random as jr

import gmmx_eqx as gx


def main() -> None:
    assert importlib.metadata.version("gmmx_eqx") == gx.__version__
    assert importlib.resources.files(gx).joinpath("py.typed").is_file()
    optional = {"beartype", "matplotlib", "pandas", "sklearn"} & set(sys.modules)
    assert not optional, optional
    x = jr.normal(jr.key(0), (200, 2))
    start = gx.GaussianMixture.from_k_means(x, n_components=2, key=jr.key(1))
    solution = gx.fit(start, x, throw=False)
    assert solution.mixture.sample(jr.key(2), 5).shape == (5, 2)
    assert solution.log_likelihood >= start.score(x) * len(x) - 1e-2
    print(gx.__version__, gx.__file__)


if __name__ == "__main__":
    main()
