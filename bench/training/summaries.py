"""What is printed of runs that have ended: tables for people, or JSON for machines.

The JSON of `--json` is one object per run and line:

- `recipe`: the name; `path`: the directory of the run; `status`: finished, interrupted or failed
- `smoke_test`: true for a shortened training, whose numbers mean nothing
- `protocol`: which laps the times below count
- `target`: the accuracy to reach, as a fraction; null without a trial
- `missing_seeds`: the seeds that were asked for and have no trial
- `trials`: of each trial `seed`, `outcome` (reached, missed, diverged, failed), `accuracy` (fraction or null),
  `time_to_target` and `total_time` (seconds, or null where the trial has none), `marks` (such as "busy")
"""

import os
from collections.abc import Collection, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from bench.command_line import cli
from bench.command_line.invocation import as_typed
from bench.command_line.option_groups import DEFAULT_RECIPE
from bench.training import events
from results.efficiency import is_known
from results.error_split import error_lines
from results.folds import fold_lines
from results.marks import counts, spread_warning
from results.protocols import seconds_to_target, total_seconds
from results.record import Run
from results.summary import summarize
from results.tables import comparison
from results.tables.efficiency import efficiency_table
from results.tables.overview import overview
from results.tables.runs import trials_table

if TYPE_CHECKING:
    from rich.console import Console

NEXT_STEPS = """\
next: accelerate launch bench/run.py mnist/base              a ConvNet on 6,000 MNIST images
      accelerate launch bench/run.py cifar10/davidnet-10     CIFAR-10 to 94% in ten epochs (best on a GPU)
      python bench/recipes.py list                           every recipe"""

MUCH = 0.05
"""share of a function's time outside its laps from which a line is printed"""


class Report:
    """Prints nothing: for the processes that are not the main one."""

    def run_ended(self, run: Run) -> None:
        """A run is over."""

    def all_ended(self) -> None:
        """No run comes any more."""


class Events(Report):
    """Reports runs to the process that launched this one."""

    def run_ended(self, run: Run) -> None:
        events.send(events.RunRecorded(run.record.recipe_name, str(run.path), run.record.status))


class Objects(Report):
    """One JSON object per run."""

    def __init__(self, protocol: str) -> None:
        self._protocol = protocol

    def run_ended(self, run: Run) -> None:
        cli.print_json(run_object(run, self._protocol))


class Tables(Report):
    """A table of the trials as each run ends, and tables over all runs at the end."""

    def __init__(self, console: "Console", protocol: str, *, interleaved: bool, across: Collection[str]) -> None:
        self._console, self._protocol, self._interleaved, self._across = console, protocol, interleaved, across
        self._runs: list[Run] = []

    def run_ended(self, run: Run) -> None:
        self._runs.append(run)
        if not self._interleaved:
            self._console.print(trials_table(run, self._protocol).rich())

    def all_ended(self) -> None:
        print_overview(self._console, self._runs, self._protocol)
        if self._interleaved:
            for first, second in pairwise(self._runs):
                self._console.print(comparison.of_runs(first, second, self._protocol, self._across).rich())
        print_lines(self._console, self._runs)


def make_report(
    console: "Console",
    protocol: str,
    *,
    is_main: bool,
    as_json: bool,
    interleaved: bool,
    across: Collection[str] = (),
) -> Report:
    """The report that the options of bench/run.py and its launcher ask for."""
    if not is_main:
        return Report()
    if events.are_wanted(os.environ):
        return Events()
    return Objects(protocol) if as_json else Tables(console, protocol, interleaved=interleaved, across=across)


def print_overview(console: "Console", runs: Sequence[Run], protocol: str) -> None:
    """The tables that sum up runs of one command, and the spread of those over several hosts."""
    for table in overview(runs, protocol):
        console.print(table.rich())
    for run in runs:
        if hosts := summarize(run, protocol).total_time.hosts:
            console.print(f"{run.record.recipe_name}, total time: {hosts.text}", highlight=False, markup=False)
    if is_known(runs):
        console.print(efficiency_table(runs, protocol).rich())


def print_lines(console: "Console", runs: Sequence[Run]) -> None:
    """What the runs show together, where their records are, and what to try next."""
    lines = [*fold_lines(runs), *error_lines(runs)]
    lines += [f"warning: {text}" for run in runs if (text := spread_warning(run))]
    for run in runs:
        lines += [*outside_laps(run), f"record: {run.path}", *(f"warning: {warning}" for warning in run.warnings)]
    if any(run.record.recipe_name == DEFAULT_RECIPE for run in runs):
        lines.append(as_typed(NEXT_STEPS))
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def outside_laps(run: Run) -> list[str]:
    """A line where a function of the user's own spent much of its time outside the laps, which no protocol counts."""
    names = ("seconds", "seconds_outside_laps")
    times = [tuple(trial.notes.get(name) for name in names) for trial in run.trials]
    known = [(whole, outside) for whole, outside in times if isinstance(whole, float) and isinstance(outside, float)]
    share = sum(outside for _, outside in known) / (sum(whole for whole, _ in known) or 1.0)
    if share < MUCH:
        return []
    return [f"warning: {run.record.recipe_name}: {share:.0%} of its time is outside every lap, and is not counted"]


def run_object(run: Run, protocol: str) -> dict[str, Any]:
    """A run as the JSON that the head of this file describes."""
    return {
        "recipe": run.record.recipe_name,
        "path": str(run.path),
        "status": run.record.status,
        "smoke_test": run.record.smoke_test,
        "protocol": protocol,
        "target": run.target,
        "missing_seeds": run.missing_seeds,
        "trials": [
            {
                "seed": trial.seed,
                "outcome": trial.outcome,
                "accuracy": trial.accuracy,
                "time_to_target": seconds_to_target(trial, protocol),
                "total_time": total_seconds(trial, protocol),
                "marks": list(counts([trial])),
            }
            for trial in run.trials
        ],
    }
