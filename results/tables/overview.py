"""The tables of a set of runs: those that their recipes ask for with `table:`, and a row a run for the rest."""

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby

from results.marks import caption
from results.record import Run
from results.tables.ladder import ladder_table
from results.tables.loaders import costs, loaders_table
from results.tables.runs import summary_tables
from results.tables.strategies import strategies_table, strategy
from results.tables.table import Table
from results.tables.techniques import baselines, techniques_table

Make = Callable[[Sequence[Run], str], Table]
Fits = Callable[[Sequence[Run]], bool]

TABLES: dict[str, tuple[Make, Fits]] = {
    "ladder": (ladder_table, lambda runs: True),
    "techniques": (techniques_table, lambda runs: bool(baselines(runs))),
    "loaders": (loaders_table, lambda runs: all(any(costs(trial) for trial in run.trials) for run in runs)),
    "strategies": (
        strategies_table,
        lambda runs: len({strategy(run) for run in runs if run.record.world_size > 1}) > 1,
    ),
}
"""by the name that recipes use: how it is made, and whether these runs have what it shows"""


def overview(runs: Sequence[Run], protocol: str) -> list[Table]:
    """Every table that these runs fill, in the order of their names. ValueError for an unknown protocol."""
    tables, rest = [], []
    for name, group in groups(runs):
        make, fits = TABLES.get(name, (None, None))
        if make and fits and len(group) > 1 and fits(group):
            tables.append(make(group, protocol).with_note(caption(group)))
        else:
            rest += group
    kept = {id(run) for run in rest}
    others = [run for run in runs if id(run) in kept]
    note = caption(others)
    return [*tables, *(table.with_note(note) for table in summary_tables(others, protocol))]


def groups(runs: Iterable[Run]) -> list[tuple[str, list[Run]]]:
    """Runs that may share a table, with its name. Techniques share one if their names lead to one baseline, which is
    in the same folder; smoke tests are in no table but the summary."""

    def key(run: Run) -> tuple[str, str]:
        table = "" if run.record.smoke_test else run.table or ""
        return table, run.record.recipe_name.rpartition("/")[0] if table == "techniques" else ""

    return [(table, list(group)) for (table, _), group in groupby(sorted(runs, key=key), key)]
