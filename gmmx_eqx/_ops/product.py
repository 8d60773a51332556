import jax.numpy as jnp

from .._core.aliases import Scalar
from .._core.axes import Axis
from .._core.programs import program
from .._covariances import as_plain, repeat_components, tile_components
from .._mixture import AbstractGaussianMixture, GaussianMixture
from .arguments import check_pair
from .maps import DiagonalMap
from .posterior import posterior


def product(
    p: AbstractGaussianMixture, q: AbstractGaussianMixture
) -> tuple[GaussianMixture, Scalar]:
    r"""The normalised product of two densities, $p(x) q(x) / Z$.

    **Returns:**

    A mixture with a component for each pair, `p.n_components * q.n_components` (those
    of `q` vary fastest), and $\log Z = \log \int p(x) q(x) dx$ in nats. The family is
    the smallest that holds products of both.

    **Raises:**

    `ValueError` if the numbers of features differ.
    """
    return _product(*check_pair(p, q, ("p", "q")))


@program()
def _product(
    p: AbstractGaussianMixture, q: AbstractGaussianMixture
) -> tuple[GaussianMixture, Scalar]:
    repeat = lambda x: jnp.repeat(x, q.n_components, axis=Axis.components)
    tile = lambda x: jnp.tile(x, (1, p.n_components, 1, 1))
    # A pair is a component of `p` that was observed at a mean of `q`, with the
    # covariance of `q` as noise.
    prior = repeat_components(as_plain(p.covariances), q.n_components)
    noise = as_plain(q.covariances)
    if q.n_components > 1:
        noise = tile_components(noise, p.n_components)
    new = posterior(
        repeat(p.weights) * tile(q.weights),
        repeat(p.means),
        prior,
        DiagonalMap(jnp.ones((1, 1, 1, 1), p.means.dtype)),
        noise,
        tile(q.means),
    )
    return (
        GaussianMixture(new.weights, new.means, new.covariances),
        new.log_evidence[0, 0, 0, 0],
    )
