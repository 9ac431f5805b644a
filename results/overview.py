"""Which tables sum up the runs of a launch."""

from collections.abc import Sequence

from results.baselines import is_against_baselines, techniques_table
from results.engines_table import engines_table, is_of_engines
from results.ladder import is_ladder, ladder_table
from results.loaders_table import is_of_loaders, loaders_table
from results.record import Run
from results.tables import Table, summary_tables


def overview(runs: Sequence[Run], protocol: str) -> list[Table]:
    """Loaders or engines side by side, techniques against their base case, the rungs of a ladder, or a row a run.
    ValueError for an unknown protocol."""
    if is_of_loaders(runs):
        return [loaders_table(runs, protocol)]
    if is_of_engines(runs):
        return [engines_table(runs)]
    if is_against_baselines(runs):
        return [techniques_table(runs, protocol)]
    if is_ladder(runs):
        return [ladder_table(runs, protocol)]
    return summary_tables(runs, protocol)
