import collections
import dataclasses
from typing import Any, ClassVar, TYPE_CHECKING

import numpy as np

from .._core.describe import describe
from .._core.hints import members, no_attribute
from .._core.table import Table
from .._covariances import covariance_class
from . import hints
from .solution import Solution


# Characters of a line, of which a wide table is printed in blocks.
_PAGE = 100


@dataclasses.dataclass(frozen=True)
class Cell:
    r"""One family with one number of components: the best of its restarts.

    A cell is not fitted if the data cannot carry its parameters. Its status is
    `too_many_parameters`, its log-likelihood is minus infinity, its criteria are
    infinite, and asking for its `solution` is a `ValueError`. That is so where $N$
    samples of positive weight with $D$ features have fewer numbers, $N D$, than the
    mixture has free parameters, or where its covariances have more than
    $(N - K) (D + 1) / 2$: those of $N - K$ residuals, of which $D$ determine a matrix
    of $D (D + 1) / 2$ parameters.

    **Attributes:**

    - `covariance_type`: the name of the family, as it was given to
        [`gmmx_eqx.select`][].
    - `n_components`: the number of components, $K$.
    - `n_parameters`: the number of free parameters, $p$. Weights are not among them
        if they were fitted as equal.
    - `log_likelihood`: $\log L$ in nats, summed over samples.
    - `bic`: $-2 \log L + p \log N$; lower is better.
    - `aic`: $-2 \log L + 2 p$; lower is better.
    - `icl`: BIC $- 2 \sum_n \log \max_k r_{nk}$, with the responsibilities $r_{nk}$;
        lower is better.
    - `status`: how the best restart ended, the name of one of [`gmmx_eqx.RESULTS`][];
        or `too_many_parameters`.
    - `n_steps`: how many steps of EM it took.
    - `n_converged`: how many of the restarts converged.
    - `n_restarts`: how many restarts there were.
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
    _solution: Solution | None = dataclasses.field(repr=False)

    @classmethod
    def create(
        cls,
        covariance_type: str,
        solution: Solution,
        n_samples: float,
        icl: float,
        n_converged: int,
        n_restarts: int,
        equal_weights: bool = False,
    ) -> "Cell":
        """The cell of a solution; criteria follow from it and the number of samples.
        The ICL is taken as it is, the others do not count equal weights."""
        mixture = solution.mixture
        log_likelihood = float(solution.log_likelihood)
        n_fixed = mixture.n_components - 1 if equal_weights else 0
        n_parameters = mixture.n_parameters - n_fixed
        return cls(
            covariance_type=covariance_type,
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
            _solution=solution,
        )

    @classmethod
    def not_fitted(
        cls, covariance_type: str, n_components: int, n_parameters: int
    ) -> "Cell":
        """The cell of a mixture with more parameters than the data can carry."""
        return cls(
            covariance_type=covariance_type,
            n_components=n_components,
            n_parameters=n_parameters,
            log_likelihood=-float("inf"),
            bic=float("inf"),
            aic=float("inf"),
            icl=float("inf"),
            status="too_many_parameters",
            n_steps=0,
            n_converged=0,
            n_restarts=0,
            _solution=None,
        )

    @property
    def solution(self) -> Solution:
        """The best of the restarts, a [`gmmx_eqx.Solution`][]; see its `result`.

        **Raises:**

        `ValueError` if the cell was not fitted.
        """
        if self._solution is None:
            raise ValueError(
                f"{self.covariance_type}, {self.n_components} components, was not "
                f"fitted: {self.n_parameters} parameters are more than the data can "
                "carry. Use fewer components or a simpler covariance family, or `fit` "
                "a mixture of your own."
            )
        return self._solution

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
    components.

    Prints as a table of the criterion, with a row for each number of components, a
    column for each family, and the three best below it.

    **Attributes:**

    - `cells`: all of them, family by family.
    - `criterion`: by which `best` is chosen.
    - `larger_is_better`: whether what is printed, and the wide form of `to_pandas`, has
        the opposite sign, as in mclust. Those of the cells are as they were.
    - `CRITERIA`: the names that `criterion` may have.
    """

    cells: tuple[Cell, ...]
    criterion: str
    larger_is_better: bool = False

    CRITERIA: ClassVar[tuple[str, ...]] = ("bic", "aic", "icl")

    def __getitem__(self, index: tuple[str, int]) -> Cell:
        """The cell of a family, by any of its names, and a number of components."""
        name, n_components = index
        cells = [cell for cell in self.cells if cell.n_components == n_components]
        for named in (str, _own_name):
            for cell in cells:
                if named(cell.covariance_type) == named(name):
                    return cell
        raise KeyError(index)

    def by(
        self, criterion: str | None = None, *, larger_is_better: bool = False
    ) -> "Selection":
        r"""The same fits, compared by another criterion. Nothing is fitted again.

        **Arguments:**

        - `criterion`: `"bic"`, `"aic"` or `"icl"`; the table's own if not given.
        - `larger_is_better`: whether to show the criterion times minus one, as mclust
            does: its BIC is $2 \log L - p \log N$.

        **Raises:**

        `ValueError` if there is no such criterion.
        """
        criterion = self.criterion if criterion is None else criterion
        check_criterion(criterion)
        return Selection(self.cells, criterion, larger_is_better)

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
        """By how much the criterion of the second best cell is worse.

        **Raises:**

        `ValueError` if no fit ended with a valid mixture.
        """
        best, second = self.best, self.ranking[1:2]
        value_of = lambda cell: getattr(cell, self.criterion)
        return value_of(second[0]) - value_of(best) if second else float("inf")

    def to_dict(self) -> dict[str, list[Any]]:
        """Columns by name, as `pandas.DataFrame` and `polars.DataFrame` take them: a
        row for each cell, with all criteria in the sign of the cells."""
        names = [f.name for f in dataclasses.fields(Cell) if f.name != "_solution"]
        return {name: [getattr(cell, name) for cell in self.cells] for name in names}

    def to_pandas(self, wide: bool = False) -> Any:
        """A `pandas.DataFrame` with one row per cell. Needs pandas.

        **Arguments:**

        - `wide`: whether to give what is printed instead: the criterion, in its sign,
            with a row for each number of components and a column for each family. NaN
            where there is no valid mixture.
        """
        try:
            import pandas
        except ImportError as error:
            raise ImportError(
                "`to_pandas` needs pandas: `pip install pandas`. `to_dict()` gives the "
                "same columns without it."
            ) from error
        if not wide:
            return pandas.DataFrame(self.to_dict())
        names, counts, rows = self._grid()
        values = [
            [self._value(c) if c and c.is_valid else np.nan for c in row]
            for row in rows
        ]
        return pandas.DataFrame(
            values,
            index=pandas.Index(counts, name="n_components"),
            columns=pandas.Index(names, name="covariance_type"),
        )

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            hint = hints.of_many(name, "selection.best.solution", Solution)
            if name in members(Cell):
                hint = f"Use `selection.best.{name}`."
            no_attribute(self, name, hint)

    def __repr__(self) -> str:
        tables = [table.text() for table in self._table().split(_PAGE)]
        return "\n\n".join([*tables, "\n".join(self._notes())]).rstrip()

    def _repr_html_(self) -> str:
        table = self._table()._replace(title=self._notes())
        return "".join(part.html() for part in table.split(_PAGE))

    def _value(self, cell: Cell) -> float:
        """The criterion as it is shown."""
        value = getattr(cell, self.criterion)
        return -value if self.larger_is_better else value

    def _grid(self) -> tuple[list[str], list[int], list[list[Cell | None]]]:
        """Names of families, numbers of components, and for each of these a row."""
        names: list[str] = []
        columns: list[dict[int, Cell]] = []
        for cell in self.cells:
            name, count = cell.covariance_type, cell.n_components
            # Two ranks of one family have the same name.
            for known, column in zip(names, columns, strict=True):
                if known == name and count not in column:
                    column[count] = cell
                    break
            else:
                names.append(name)
                columns.append({count: cell})
        counts = sorted({cell.n_components for cell in self.cells})
        return names, counts, [[c.get(count) for c in columns] for count in counts]

    def _table(self) -> Table:
        best = self.best if self.ranking else None

        def text(cell: Cell | None) -> str:
            if cell is None:
                return ""
            if not cell.is_valid:
                return "- "
            return f"{self._value(cell):.2f}{'*' if cell is best else ' '}"

        names, counts, grid = self._grid()
        head = (self.criterion.upper(), *(f"{name} " for name in names))
        rows = [
            (str(count), *map(text, row))
            for count, row in zip(counts, grid, strict=True)
        ]
        return Table((), head, tuple(rows))

    def _notes(self) -> tuple[str, ...]:
        """The best cells, and why others are missing."""
        lines, top = [], self.ranking[:3]
        if top:
            number = ("", " two", " three")[len(top) - 1]
            which = "larger" if self.larger_is_better else "lower"
            name = self.criterion.upper()
            lines.append(f"Best{number} by {name} ({which} is better):")
        found = [_found(cell) for cell in top]
        width = max(map(len, found), default=0)
        values = [self._value(cell) for cell in top]
        digits = max((len(f"{value:.2f}") for value in values), default=0)
        for i, value in enumerate(values):
            line = f"{' ' if i else '*'} {found[i]:<{width}}  {value:>{digits}.2f}"
            lines.append(f"{line}  {value - values[0]:+.2f}" if i else line)
        missing = [cell.status for cell in self.cells if not cell.is_valid]
        if missing:
            counts = collections.Counter(missing).most_common()
            why = ", ".join(f"{count} {status}" for status, count in counts)
            lines.append(f"- no valid mixture: {why}")
        return tuple(lines)


def _found(cell: Cell) -> str:
    noun = "component" if cell.n_components == 1 else "components"
    return f"{cell.covariance_type}, {cell.n_components} {noun}"


def check_criterion(criterion: str) -> None:
    """Raises a `ValueError` unless there is such a criterion."""
    if criterion not in Selection.CRITERIA:
        raise ValueError(
            f"`criterion` must be one of {', '.join(map(repr, Selection.CRITERIA))}; "
            f"got {describe(criterion)}."
        )


def _own_name(name: str) -> str:
    """The name under which a family is registered, which may have others."""
    try:
        return str(covariance_class(name).type)
    except ValueError:
        return name
