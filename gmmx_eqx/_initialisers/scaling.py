import enum
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

    def scatter(chunk: Chunk):
        points = linalg.matmul(standard, chunk.columns)
        return linalg.matmul(points * chunk.weights[None], points.T)

    # Of standardised features, so that the smallest eigenvalue is not lost to units.
    correlation = linalg.symmetrise(source.reduce(scatter) / source.total)
    eigenvalues, eigenvectors = lapack.eigh(correlation)
    eps = jnp.finfo(eigenvalues.dtype).eps
    floor = eps * eigenvalues.size * jnp.max(eigenvalues)
    factor = jnp.where(eigenvalues > floor, linalg.inverse_sqrt(eigenvalues), 0)
    if scaling == Scaling.svd:
        # Deviations are those of n - 1 samples there, and the sum of n squares.
        n = source.total.astype(factor.dtype)
        factor = jnp.sqrt(factor * jnp.sqrt(jnp.maximum(n - 1, n / 2)) / n)
    return linalg.matmul(factor[:, None] * eigenvectors.T, standard)
