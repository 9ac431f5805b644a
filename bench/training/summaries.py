"""What is printed of runs that have ended: tables for people, or JSON for machines."""

import os
from collections.abc import Collection, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from bench.command_line import cli
from bench.command_line.invocation import as_typed
from bench.command_line.json_output import run_object
from bench.command_line.option_groups import DEFAULT_RECIPE
from bench.command_line.variations import base_of
from bench.training import events
from results.efficiency import is_known
from results.error_split import error_lines
from results.folds import fold_lines
from results.free_form import OutsideLaps, noted
from results.record import Run
from results.rules import Rules
from results.stability import stability_warnings
from results.tables import comparison
from results.tables.efficiency import efficiency_table
from results.tables.hosts import hosts_table
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
        cli.print_json(run_object(run, self._protocol).model_dump())


class Tables(Report):
    """A table of the trials as each run ends, and tables over all runs at the end."""

    def __init__(
        self, console: "Console", protocol: str, *, interleaved: bool, across: Collection[str], limits: Rules
    ) -> None:
        self._console, self._protocol, self._interleaved = console, protocol, interleaved
        self._across, self._limits = across, limits
        self._runs: list[Run] = []

    def run_ended(self, run: Run) -> None:
        self._runs.append(run)
        if not self._interleaved:
            self._console.print(trials_table(run, self._protocol).rich())

    def all_ended(self) -> None:
        print_overview(self._console, self._runs, self._protocol)
        if self._interleaved and (pairs := pairs_to_compare(self._runs)):
            across = {*self._across, "recipe"}  # their difference is the question, whatever they are called
            self._console.print(comparison.of_pairs(pairs, self._protocol, across, self._limits).rich())
        print_lines(self._console, self._runs)


def pairs_to_compare(runs: Sequence[Run]) -> list[tuple[Run, Run]]:
    """Of interleaved runs, two by two: each value of --vary with the first one of its recipe; other runs with the one
    before."""
    bases = [base_of(run.record.recipe_name) for run in runs]
    if None in bases:
        return list(pairwise(runs))
    first: dict[str | None, Run] = {}
    for base, run in zip(bases, runs, strict=True):
        first.setdefault(base, run)
    return [(first[base], run) for base, run in zip(bases, runs, strict=True) if run is not first[base]]


def make_report(
    console: "Console",
    protocol: str,
    *,
    is_main: bool,
    as_json: bool,
    interleaved: bool,
    across: Collection[str] = (),
    limits: Rules | None = None,
) -> Report:
    """The report that the options of bench/run.py and its launcher ask for."""
    if not is_main:
        return Report()
    if events.are_wanted(os.environ):
        return Events()
    if as_json:
        return Objects(protocol)
    return Tables(console, protocol, interleaved=interleaved, across=across, limits=limits or {})


def print_overview(console: "Console", runs: Sequence[Run], protocol: str) -> None:
    """The tables that sum up runs, and the hosts of each that has several."""
    for table in overview(runs, protocol):
        console.print(table.rich())
    for run in runs:
        if hosts := hosts_table(run, protocol):
            console.print(hosts.rich())
    with_target = [run for run in runs if not run.has_no_target]  # the others have MFU in their own table
    if is_known(with_target):
        console.print(efficiency_table(with_target, protocol).rich())


def print_lines(console: "Console", runs: Sequence[Run]) -> None:
    """What the runs show, where their records are, and what to try next."""
    print_findings(console, runs)
    lines = [line for run in runs for line in (f"record: {run.path}", *(f"warning: {text}" for text in run.warnings))]
    if any(run.record.recipe_name == DEFAULT_RECIPE for run in runs):
        lines.append(as_typed(NEXT_STEPS))
    for line in lines:
        cli.print_line(console, line)


def print_findings(console: "Console", runs: Sequence[Run]) -> None:
    """What the runs show beside their numbers: folds, errors, and what disturbed them."""
    disturbed = [f"warning: {text}" for run in runs for text in stability_warnings(run)]
    uncounted = [line for run in runs for line in outside_laps(run)]
    for line in (*fold_lines(runs), *error_lines(runs), *disturbed, *uncounted):
        cli.print_line(console, line)


def outside_laps(run: Run) -> list[str]:
    """A line where a function of the user's own spent much of its time outside the laps, which no protocol counts."""
    times = [found for trial in run.trials if (found := noted(OutsideLaps, trial.notes))]
    share = sum(one.seconds_outside_laps for one in times) / (sum(one.seconds for one in times) or 1.0)
    if share < MUCH:
        return []
    return [f"warning: {run.record.recipe_name}: {share:.0%} of its time is outside every lap, and is not counted"]
