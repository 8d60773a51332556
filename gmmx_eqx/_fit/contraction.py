import jax
import jax.numpy as jnp
import jax.random as jr

from .._core import buckets, inputs, labels as known_labels
from .._core.aliases import Data, Labels, Scalar, Weighting
from .._core.likes import DataLike, LabelsLike, SampleWeightLike
from .._core.programs import program
from .._em import Frozen, packed_length
from .._em.implicit import advance
from .._em.metric import inner, Metric
from .._mixture import as_plain_mixture, GaussianMixture
from .._priors import Prior, RidgeLike
from .._sources import chunk_size, InMemory
from .options import Options
from .solution import moved


_MAX_STEPS = 1000


def contraction_rate(
    mixture: GaussianMixture,
    x: DataLike,
    *,
    sample_weight: SampleWeightLike | None = None,
    labels: LabelsLike | None = None,
    reg_covar: RidgeLike = None,
    equal_weights: bool = False,
    prior: Prior | None = None,
    frozen: Frozen | None = None,
) -> Scalar:
    r"""By how much a step of EM shrinks the slowest of all small errors: the largest
    eigenvalue $ρ$ of the Jacobian of the step at a fitted mixture.

    It is the largest share of information that is missing because components are not
    observed. EM needs about $1 / (1 - ρ)$ steps for a digit, and what is left to go is
    about $1 / (1 - ρ)$ times the last step; so are errors of the fit's derivatives.
    Near one the likelihood is flat in some direction, as where there are more
    components than the data needs, and derivatives mean little. Above one it is no
    maximum.

    **Arguments:** as in [`gmmx_eqx.fit`][], with its result for `mixture`. By power
    iteration: a pass over the data for each step.

    ??? cite "Reference"

        Dempster, Laird, Rubin (1977), Maximum Likelihood from Incomplete Data via the
        EM Algorithm. JRSS B 39(1), 1-38. Section 3. Xu, Jordan (1996), On Convergence
        Properties of the EM Algorithm for Gaussian Mixtures. Neural Computation 8(1),
        129-151.
    """
    mixture = as_plain_mixture(mixture)
    x, weight = inputs.as_data(
        x, sample_weight, n_features=mixture.n_features, like=mixture, fits=True
    )
    weight, unit = inputs.balance(weight)
    options = Options.create(
        mixture.n_features,
        reg_covar=reg_covar,
        equal_weights=equal_weights,
        prior=prior,
        frozen=frozen,
    )
    options.check_unit(unit)
    if frozen is not None:
        frozen.check(mixture)
    if labels is not None:
        labels = known_labels.as_known(labels, len(x), mixture.n_components)
        known_labels.check_occupied(labels, weight, mixture.weights)
    x, weight = buckets.fill(x, weight, labels, mixture, options)
    labels = None if labels is None else known_labels.fill(labels, len(x))
    return _contraction_rate(mixture, x, weight, labels, options)


@program()
def _contraction_rate(
    mixture: GaussianMixture,
    x: Data,
    weight: Weighting,
    labels: Labels | None,
    options: Options,
) -> Scalar:
    mixture, x = inputs.common_dtype(mixture, x)
    n_packed = packed_length(mixture.covariances, x.shape[1])
    source = InMemory.from_data(x, weight, chunk_size(x, n_packed))
    step = options.step(source, mixture.covariances, labels)
    mixture = moved(options.as_start(mixture), -source.pivot)
    frozen = Frozen() if options.frozen is None else options.frozen
    held = frozen.or_empty(mixture)
    _, times = jax.linearize(lambda y: advance(step, mixture, y, held)[0], mixture)
    metric = Metric.create(mixture)
    eps = float(jnp.finfo(x.dtype).eps)

    def unfinished(carry):
        _, rate, before, n_steps = carry
        tol = 1e-3 * jnp.abs(1 - rate) + 10 * eps
        return (jnp.abs(rate - before) > tol / 10) & (n_steps < _MAX_STEPS)

    def again(carry):
        change, rate, _, n_steps = carry
        norm = jnp.sqrt(inner(change, metric(change)))
        # Where everything is frozen nothing is left.
        norm = jnp.where(norm > 0, norm, 1)
        change = jax.tree.map(lambda leaf: leaf / norm, change)
        new = times(change)
        return new, inner(new, metric(change)), rate, n_steps + 1

    leaves, treedef = jax.tree.flatten(mixture)
    keys = jr.split(jr.key(0), len(leaves))
    noise = [
        jr.normal(key, leaf.shape, leaf.dtype)
        for key, leaf in zip(keys, leaves, strict=True)
    ]
    infinity = jnp.asarray(jnp.inf, x.dtype)
    # One step of EM makes any change one of a mixture, in the units of the data.
    scaled = Metric.create(mixture, inverse=True)(jax.tree.unflatten(treedef, noise))
    carry = (times(scaled), jnp.zeros_like(infinity), infinity, jnp.array(0))
    _, rate, _, _ = jax.lax.while_loop(unfinished, again, carry)
    return rate
