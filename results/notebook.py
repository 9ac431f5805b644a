"""Runs in a notebook: as a pandas data frame (extra `query`), and two sides compared."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from results import compare as comparing
from results import protocols, rules, samples, store
from results.extras import require
from results.flat import COLUMNS, tables
from results.record import Run
from results.tables import Table, comparison

if TYPE_CHECKING:
    import pandas as pd


def load(
    places: str | Path | Iterable[str | Path] = "runs",
    *,
    protocol: str = protocols.DEFAULT,
    table: Literal["trials", "runs", "epochs", "laps"] = "trials",
) -> "pd.DataFrame":
    """The runs at some places as a data frame: one row a trial, or a run, an epoch or a lap.

    places: run directories, folders of them, or globs. Times are seconds under `protocol`, accuracies fractions.
    ValueError for a place without runs, an unknown protocol or table, and where pandas is missing.
    """
    pandas = require("pandas", "query")
    if table not in COLUMNS:
        raise ValueError(f"table={table!r}: use one of {', '.join(COLUMNS)}")
    every = store.with_scalings([places] if isinstance(places, str | Path) else places)
    found = tables(store.find(every), protocol)
    return pandas.DataFrame(getattr(found, table), columns=[column.name for column in COLUMNS[table]])


@dataclass(frozen=True)
class Comparisons:
    """The verdicts on two sides, one row a metric."""

    rows: tuple[comparing.Comparison, ...]
    protocol: str

    @property
    def table(self) -> Table:
        """As text."""
        return comparison.table(self.rows, self.protocol)

    @property
    def verdicts(self) -> dict[str, comparing.Verdict]:
        """By metric. ValueError where several recipes were compared."""
        names = [row.metric.name for row in self.rows]
        if len(set(names)) < len(names):
            raise ValueError("several recipes were compared: their verdicts are in rows")
        return {row.metric.name: row.verdict for row in self.rows}

    def _repr_html_(self) -> str:
        return self.table.html()

    def __str__(self) -> str:
        return self.table.text()


def compare(
    before: str | Path | Run,
    after: str | Path | Run,
    *,
    protocol: str = protocols.DEFAULT,
    across: Collection[str] = (),
    fail_on: Iterable[str] = (),
    runs: str | Path = "runs",
) -> Comparisons:
    """Compare two sides as `bench/compare.py` does.

    before, after: a run, its directory, a folder or glob of runs, or the name of a recipe with runs below `runs`.
    across: what may differ. fail_on: rules such as "time:2%". ValueError where a side has no run, or as
    `results.compare.compare`.
    """
    protocol, chosen = protocols.parse(protocol), rules.rules(fail_on)

    def side(given: str | Path | Run) -> list[samples.Samples]:
        if isinstance(given, Run):
            return [samples.of_run(given, protocol, chosen)]
        return samples.resolve(str(given), protocol, (Path(runs), samples.MEASURED))

    return Comparisons(tuple(comparing.compare(side(before), side(after), chosen, across)), protocol)
