import dataclasses
from typing import Any, ClassVar

import numpy as np

from .solution import Solution


@dataclasses.dataclass(frozen=True)
class Cell:
    """One family with one number of components: the best of its restarts.

    **Attributes:**

    - `covariance_type`: the name of the family.
    - `n_components`: the number of components.
    - `n_parameters`: the number of free parameters.
    - `log_likelihood`: in nats, summed over samples.
    - `bic`, `aic`, `icl`: a criterion; lower is better.
    - `status`: how the best restart ended, the name of one of [`gmmx_eqx.RESULTS`][].
    - `n_steps`: how many steps of EM it took.
    - `n_converged`: how many of the restarts converged.
    - `n_restarts`: how many restarts there were.
    - `solution`: a [`gmmx_eqx.Solution`][]; see its `result`.
    """

    covariance_type: str
    n_components: int
    n_parameters: int
    log_likelihood: float
    bic: float
    aic: float
    icl: float
    status: str
    n_steps: int
    n_converged: int
    n_restarts: int
    solution: Solution

    @classmethod
    def create(
        cls,
        solution: Solution,
        n_samples: float,
        icl: float,
        n_converged: int,
        n_restarts: int,
    ) -> "Cell":
        """The cell of a solution; criteria follow from it and the number of samples."""
        mixture = solution.mixture
        log_likelihood = float(solution.log_likelihood)
        n_parameters = mixture.n_parameters
        return cls(
            covariance_type=str(mixture.covariances.type),
            n_components=mixture.n_components,
            n_parameters=n_parameters,
            log_likelihood=log_likelihood,
            bic=-2 * log_likelihood + n_parameters * float(np.log(n_samples)),
            aic=-2 * log_likelihood + 2 * n_parameters,
            icl=icl,
            status=str(solution.status),
            n_steps=int(solution.n_steps),
            n_converged=n_converged,
            n_restarts=n_restarts,
            solution=solution,
        )

    @property
    def is_valid(self) -> bool:
        """Whether the mixture is one that EM ended at, converged or not."""
        return self.status in ("successful", "max_steps_reached")


@dataclasses.dataclass(frozen=True)
class Selection:
    """A table of fits, one [`gmmx_eqx.Cell`][] for every family and number of
    components. Prints as a table.

    **Attributes:**

    - `cells`: all of them, family by family.
    - `criterion`: by which `best` is chosen.
    - `CRITERIA`: the names that `criterion` may have.
    """

    cells: tuple[Cell, ...]
    criterion: str

    CRITERIA: ClassVar[tuple[str, ...]] = ("bic", "aic", "icl")

    def __getitem__(self, index: tuple[str, int]) -> Cell:
        """The cell of a family and a number of components."""
        for cell in self.cells:
            if (cell.covariance_type, cell.n_components) == index:
                return cell
        raise KeyError(index)

    @property
    def ranking(self) -> tuple[Cell, ...]:
        """The valid cells, the best first."""
        valid = [cell for cell in self.cells if cell.is_valid]
        return tuple(sorted(valid, key=lambda cell: getattr(cell, self.criterion)))

    @property
    def best(self) -> Cell:
        """The cell that wins.

        **Raises:**

        `ValueError` if no fit ended with a valid mixture.
        """
        if not self.ranking:
            raise ValueError(
                "No fit ended with a valid mixture: see the status of each."
            )
        return self.ranking[0]

    @property
    def margin(self) -> float:
        """By how much the criterion of the second best cell is larger."""
        first, *rest = (getattr(cell, self.criterion) for cell in self.ranking)
        return rest[0] - first if rest else float("inf")

    def to_dict(self) -> dict[str, list[Any]]:
        """Columns by name, as `pandas.DataFrame` and `polars.DataFrame` take them."""
        names = [f.name for f in dataclasses.fields(Cell) if f.name != "solution"]
        return {name: [getattr(cell, name) for cell in self.cells] for name in names}

    def to_pandas(self) -> Any:
        """A `pandas.DataFrame` with one row per cell. Needs pandas."""
        try:
            import pandas
        except ImportError as error:
            raise ImportError(
                "`to_pandas` needs pandas: `pip install pandas`. `to_dict()` gives the "
                "same columns without it."
            ) from error
        return pandas.DataFrame(self.to_dict())

    def __str__(self) -> str:
        families = list(dict.fromkeys(cell.covariance_type for cell in self.cells))
        counts = sorted({cell.n_components for cell in self.cells})
        best = self.best if self.ranking else None
        widths = {family: max(len(family), 11) + 2 for family in families}
        head = self.criterion.upper().rjust(5)
        head += "".join(f.rjust(widths[f]) for f in families)
        lines = [head]
        for count in counts:
            row = f"{count:5d}"
            for family in families:
                cell = self[family, count]
                value = getattr(cell, self.criterion)
                text = f"{value:.2f}" if cell.is_valid else "-"
                row += text.rjust(widths[family] - 1) + ("*" if cell is best else " ")
            lines.append(row)
        if best is not None:
            lines.append(
                f"* {best.covariance_type}, {best.n_components} components, by "
                f"{self.margin:.2f}"
            )
        return "\n".join(lines)
