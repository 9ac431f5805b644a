"""Many recipes, several at a time, each on its own share of the cores and, where there are GPUs, on a GPU of its own.

Small networks leave most of a machine idle, so that many recipes are trained sooner this way. Their clocks run beside
other work. The machine class of their records says so, and they are not compared with runs that had the machine alone.
"""

import os
import shlex
import sys
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

if __name__ == "__main__":  # this tree, whatever else is installed
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.command_line import cli, jobs, options
from bench.command_line.option_groups import (
    WHERE,
    Data,
    DryRun,
    Json,
    Machine,
    Records,
    SmokeTest,
    Suite,
    Track,
    Trials,
)
from bench.command_line.options import Argument, at_least_two
from bench.training.events import Event, RunRecorded
from bench.training.launch import Children, Launch
from pipelines.host import nvml, runtime

if TYPE_CHECKING:
    from rich.console import Console

PROG = "bench/sweep.py"
EXAMPLES = """\
examples:
  python bench/sweep.py 'mnist/*' --concurrent 2         two recipes at a time, each on half of the cores
  python bench/sweep.py --suite nightly-gpu --concurrent 8"""


@dataclass(frozen=True, kw_only=True)
class Passed(SmokeTest, Machine, Data, Records, Track):
    """What every launch is given as it is."""

    title = WHERE


@dataclass(frozen=True, kw_only=True)
class SweepOptions(Suite, Trials, Passed, Json, DryRun):
    """The options of bench/sweep.py."""

    title = WHERE

    concurrent: Annotated[int, Argument(at_least_two, "N")] = 2
    """how many recipes train at a time"""

    def __post_init__(self) -> None:
        jobs.check_suite(self)


@dataclass(frozen=True)
class Place:
    """What a launch has to itself."""

    cores: tuple[int, ...]
    gpu: str | None = None
    """as CUDA_VISIBLE_DEVICES names it; None on a machine without GPUs"""


def parse(arguments: Sequence[str] | None = None) -> SweepOptions:
    """The options. Exits with status 2 and one line for a command line that is wrong."""
    return options.parse(SweepOptions, PROG, arguments, description=__doc__, epilog=EXAMPLES)


@cli.command
def main(arguments: Sequence[str] | None = None) -> int:
    """Launch every recipe and print the tables of all. Returns the highest exit status of a launch."""
    given = parse(arguments)
    gpus = [] if given.device == "cpu" else nvml.visible(os.environ)
    shares = places(given.concurrent, sorted(os.sched_getaffinity(0)), gpus)
    waiting = deque(planned(given))
    if given.dry_run:
        print("\n".join(shlex.join(launch.command) for launch in waiting))
        return cli.OK
    console = cli.make_console(to_stderr=given.json)
    recorded: list[Path] = []
    statuses: list[int] = []

    def show(event: Event) -> None:
        if isinstance(event, RunRecorded):
            recorded.append(Path(event.path))
        else:
            console.print(str(event), highlight=False, markup=False, soft_wrap=True)

    def work(place: Place) -> None:
        while True:
            try:
                launch = waiting.popleft()
            except IndexError:
                return
            statuses.append(children.run(replace(launch, cores=place.cores, gpu=place.gpu), show))

    try:
        with Children() as children, ThreadPoolExecutor(len(shares)) as pool:
            list(pool.map(work, shares))
            children.raise_if_stopped()
    finally:
        print_runs(console, recorded, given)
    return max(statuses)


def places(count: int, cores: Sequence[int], gpus: Sequence[str]) -> list[Place]:
    """The machine in `count` equal shares. ValueError where one would have no core or, beside GPUs, no GPU."""
    share = len(cores) // count
    if share == 0:
        raise ValueError(f"--concurrent {count}: there are {len(cores)} cores; say at most that many")
    if gpus and count > len(gpus):
        raise ValueError(f"--concurrent {count}: each needs a GPU, and there are {len(gpus)}; or say --device cpu")
    each = [tuple(cores[index * share : (index + 1) * share]) for index in range(count)]
    return [Place(own, gpus[index] if gpus else None) for index, own in enumerate(each)]


def planned(given: SweepOptions) -> list[Launch]:
    """A launch for each recipe. ValueError for a recipe that is missing or wrong, before anything is launched."""
    first = [] if given.seed is None else ["--seed", str(given.seed)]
    found = []
    for name, trials in jobs.select(given, given.trials):
        jobs.load_any(name, given.overrides, smoke_test=given.smoke_test)
        words = [name, *given.overrides, "--trials", str(trials), *first, *options.to_arguments(given, Passed)]
        found.append(Launch(tuple(words), variables={runtime.AT_A_TIME: str(given.concurrent)}))
    return found


def print_runs(console: "Console", paths: Sequence[Path], given: SweepOptions) -> None:
    """Print the tables of these runs, or a JSON object per run, if there are any."""
    from bench.command_line.json_output import run_object
    from bench.training import summaries
    from results import store

    runs = sorted(store.find(paths), key=lambda run: run.record.recipe_name) if paths else []
    if given.json:
        for run in runs:
            cli.print_json(run_object(run, given.protocol).model_dump())
    elif runs:
        summaries.print_overview(console, runs, given.protocol)
        summaries.print_lines(console, runs)


if __name__ == "__main__":
    sys.exit(main())
