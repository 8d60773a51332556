from .._core.describe import describe
from .._core.programs import program
from .._covariances import AbstractCovariances, decompose_dense, Decomposition
from .._mixture import AbstractGaussianMixture


def decompose(
    covariances: AbstractGaussianMixture | AbstractCovariances,
) -> Decomposition:
    r"""Volume, shape and orientation of every covariance, $Σ_k = λ_k D_k A_k D_k^T$.

    **Arguments:**

    - `covariances`: a mixture; or covariances alone, of any family. Those that have the
        same variance for all features do not know how many there are, and those that
        are shared by all components not how many these are: one is taken.

    **Returns:**

    A [`gmmx_eqx.families.Decomposition`][]: `volume` in squared data units, shape
    `(1, components, 1, 1)`, `shape` `(1, components, features, 1)` and `orientation`
    `(1, components, features, features)`.

    **Raises:**

    `TypeError` for anything else.

    **Example:**

    ```python
    mixture = gx.GaussianMixture.from_squeezed(
        [[0.0, 0.0], [1.0, 1.0]], [[4.0, 1.0], [1.0, 1.0]], [0.5, 0.5], "diag"
    )
    print(gx.decompose(mixture).volume.ravel())
    ```

    ```text
    [2. 1.]
    ```
    """
    if isinstance(covariances, AbstractGaussianMixture):
        covariances.check_one()
        n_components, n_features = covariances.n_components, covariances.n_features
        return _decompose(covariances.covariances, n_components, n_features)
    if isinstance(covariances, AbstractCovariances):
        n_components, n_features = covariances.n_components, covariances.n_features
        return _decompose(covariances, n_components, n_features)
    raise TypeError(
        "`covariances` must be a mixture or the covariances of one; got "
        f"{describe(covariances)}."
    )


@program()
def _decompose(
    covariances: AbstractCovariances, n_components: int, n_features: int
) -> Decomposition:
    return decompose_dense(covariances, n_components, n_features)
