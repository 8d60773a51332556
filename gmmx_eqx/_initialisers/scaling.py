import enum
from collections.abc import Callable
from typing import TypeAlias

import jax.numpy as jnp
from jaxtyping import Array, Float

from .._core import inputs, lapack, linalg
from .._sources import Chunk, InMemory


ScalingMatrix: TypeAlias = Float[Array, "features features"]


class Scaling(enum.StrEnum):
    """What Euclidean distances between samples are measured after.

    - `auto`: `standard` and `whiten` both, and the partition that leaves the smaller
        determinant of the covariance within components (Friedman, Rubin 1967, JASA
        62(320), 1159-1178): a criterion that does not depend on the scaling.
    - `none`: one common factor, so that units do not matter but their ratios do.
    - `standard`: every feature divided by its standard deviation.
    - `whiten`: the data's covariance turned into the identity.
    - `svd`: half-way between these two: principal components of standardised features,
        each divided by the square root of its singular value, as in Scrucca, Raftery
        (2015), Adv. Data Anal. Classif. 9(4), 447-460.
    """

    auto = "auto"
    none = "none"
    standard = "standard"
    whiten = "whiten"
    svd = "svd"


def as_scaling(scaling: str) -> Scaling:
    return inputs.as_option(Scaling, scaling, "scaling")


def scaling_matrix(source: InMemory, scaling: Scaling) -> ScalingMatrix:
    """The matrix that scales samples. Directions without variance are ignored."""
    variances = source.variances[0, 0, :, 0]
    if scaling == Scaling.none:
        variances = jnp.full_like(variances, jnp.mean(variances))
    # A constant feature is a rounding error away from a variance of zero.
    constant = variances <= source.resolution[0, 0, :, 0]
    standard = jnp.diag(jnp.where(constant, 0, linalg.inverse_sqrt(variances)))
    if scaling not in (Scaling.whiten, Scaling.svd):
        return standard

    total = correlation(source, standard)
    if scaling == Scaling.whiten:
        return whitening_matrix(standard, total)
    # Deviations are those of n - 1 samples there, and the sum of n squares.
    n = source.total.astype(total.dtype)
    size = jnp.sqrt(jnp.maximum(n - 1, n / 2)) / n
    return whitening_matrix(standard, total, lambda factor: jnp.sqrt(factor * size))


def correlation(source: InMemory, standard: ScalingMatrix) -> ScalingMatrix:
    """The covariance of standardised features."""

    def scatter(chunk: Chunk):
        points = linalg.matmul(standard, chunk.columns)
        return linalg.matmul(points * chunk.weights[None], points.T)

    return linalg.symmetrise(source.reduce(scatter) / source.total)


def whitening_matrix(
    standard: ScalingMatrix,
    total: ScalingMatrix,
    adapt: Callable[[Array], Array] = lambda factor: factor,
) -> ScalingMatrix:
    """The matrix after which samples have the identity as their covariance.

    **Arguments:**

    - `total`: the covariance of standardised features, so that the smallest eigenvalue
        is not lost to units.
    - `adapt`: a function of the factors of principal components, which stay as they
        are if it is not given.
    """
    eigenvalues, eigenvectors = lapack.eigh(total)
    eps = jnp.finfo(eigenvalues.dtype).eps
    floor = eps * eigenvalues.size * jnp.max(eigenvalues)
    factor = jnp.where(eigenvalues > floor, linalg.inverse_sqrt(eigenvalues), 0)
    return linalg.matmul(adapt(factor)[:, None] * eigenvectors.T, standard)
