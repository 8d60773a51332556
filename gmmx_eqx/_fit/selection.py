import dataclasses
from typing import Any, ClassVar, TYPE_CHECKING

import numpy as np

from .._core.hints import members, no_attribute
from .._core.table import Table
from . import hints
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
    solution: Solution = dataclasses.field(repr=False)

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

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            no_attribute(self, name, hints.of_many(name, "cell.solution", Solution))

    @property
    def is_valid(self) -> bool:
        """Whether the mixture is one that EM ended at, converged or not."""
        return self.status in ("successful", "max_steps_reached")


@dataclasses.dataclass(frozen=True, repr=False)
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

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            hint = hints.of_many(name, "selection.best.solution", Solution)
            if name in members(Cell):
                hint = f"Use `selection.best.{name}`."
            no_attribute(self, name, hint)

    def __repr__(self) -> str:
        table = self._table()
        # As wide as the largest numbers, with a space or a star.
        widths = [5, *(max(len(family), 11) + 2 for family in table.head[1:])]
        lines = [
            "".join(map(str.rjust, row, widths)) for row in (table.head, *table.rows)
        ]
        return "\n".join([*lines, *table.title])

    def _repr_html_(self) -> str:
        return self._table().html()

    def _table(self) -> Table:
        by_kind = {(c.covariance_type, c.n_components): c for c in self.cells}
        families = list(dict.fromkeys(family for family, _ in by_kind))
        best = self.best if self.ranking else None

        def text(cell: Cell | None) -> str:
            if cell is None or not cell.is_valid:
                return "- "
            mark = "*" if cell is best else " "
            return f"{getattr(cell, self.criterion):.2f}{mark}"

        rows = []
        for count in sorted({count for _, count in by_kind}):
            cells = (by_kind.get((family, count)) for family in families)
            rows.append((str(count), *map(text, cells)))
        title = ()
        if best is not None:
            margin = f"{self.margin:.2f}"
            found = f"{best.covariance_type}, {best.n_components} components"
            title = (f"* {found}, by {margin}",)
        return Table(title, (self.criterion.upper(), *families), tuple(rows))
