"""The table of how much of its hardware each run used."""

from collections.abc import Sequence

from results import format as form
from results.efficiency import efficiency
from results.record import Run
from results.tables.table import Table, legend_of, name_of


def efficiency_table(runs: Sequence[Run], protocol: str) -> Table:
    """One row a run. ValueError as `results.efficiency.efficiency`."""
    headers = ("recipe", "TFLOP/s", "of the peak", "mean W", "J per trial", "J to target", "machine")
    found = [(run, efficiency(run, protocol)) for run in runs]
    rows = tuple(
        (
            name_of(run),
            form.number(None if one.flops is None else one.flops / 1e12),
            "unknown" if one.mfu is None else f"{100 * one.mfu:.1f}%",
            *(form.number(value) for value in (one.watts, one.joules, one.joules_to_target)),
            run.machine,
        )
        for run, one in found
    )
    caption = (
        "TFLOP/s: the network's operations over the train laps. Peak: dense, in this precision (results/peaks.yaml). "
        f"J to target: mean W times the median {protocol} time to target."
    )
    return Table("hardware efficiency", headers, rows, caption + legend_of(runs))
