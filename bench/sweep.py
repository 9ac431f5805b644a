"""Train each trial in a process of its own: one after the other, or several at a time on this machine or a cluster.

Without --workers and --cluster one trial trains at a time. With them Ray starts the trials, and this process records
them. The machine class of trials that shared a machine says so, and they are not compared with trials that had the
machine alone. bench/run.py trains all trials in one process, which starts sooner.
"""

import contextlib
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

if __name__ == "__main__":  # this tree, whatever else is installed
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.command_line import cli, jobs, options
from bench.command_line.invocation import recorded
from bench.command_line.option_groups import (
    WHERE,
    Data,
    DryRun,
    Executor,
    Json,
    Machine,
    Records,
    SmokeTest,
    Trials,
    Vary,
)
from bench.command_line.options import Argument, Count, positive, share
from bench.training import resources
from bench.training.events import Event
from pipelines.data.sources import default_folder
from pipelines.host import runtime

if TYPE_CHECKING:
    from rich.console import Console

    from bench.training.spread import Execute
    from bench.training.tasks import TrialTask

PROG = "bench/sweep.py"
EXAMPLES = """\
examples:
  python bench/sweep.py --suite nightly --timeout 600            one trial at a time; one that hangs is stopped
  python bench/sweep.py digits/short --trials 20 --workers 4     four trials at a time on this machine (extra `cluster`)
  python bench/sweep.py --suite nightly-gpu --cluster auto       trials over all nodes of the cluster of this host"""


@dataclass(frozen=True, kw_only=True)
class SweepOptions(Vary, Trials, SmokeTest, Machine, Data, Records, Executor, Json, DryRun):
    """The options of bench/sweep.py."""

    title = WHERE
    renamed: ClassVar = SmokeTest.renamed | {"--concurrent": "--workers"}

    processes: Count = 1
    """processes that train a trial together, on one node"""
    gpu_share: Annotated[float, Argument(share, "SHARE")] | None = None
    """part of a GPU that a trial takes; needs --shared"""
    shared: bool = False
    """let trials share a GPU: their machine class says so"""
    timeout: Annotated[int, Argument(positive, "SECONDS")] | None = None
    """seconds after which a trial is stopped"""
    resume: bool = False
    """train the missing trials of the latest runs in --out; if none is missing, begin new runs"""

    def __post_init__(self) -> None:
        super().__post_init__()
        jobs.check_suite(self)
        if (self.gpu_share is None) == self.shared:
            raise ValueError(
                "--shared needs --gpu-share"
                if self.shared
                else f"--gpu-share {self.gpu_share:g}: trials that share a GPU slow each other down; --shared allows it"
            )
        if self.shared and not self.by_ray:
            raise ValueError("--gpu-share is for several trials at a time: add --workers or --cluster")
        if self.shared and self.processes > 1:
            raise ValueError("--gpu-share is for trials of one process: leave --processes out")


def parse(arguments: Sequence[str] | None = None) -> SweepOptions:
    """The options. Exits with status 2 and one line for a command line that is wrong."""
    return options.parse(SweepOptions, PROG, arguments, description=__doc__, epilog=EXAMPLES)


@cli.command
def main(arguments: Sequence[str] | None = None) -> int:
    """Train every trial and print the tables of all. Returns the highest exit status of a trial."""
    from bench.training import collect, spread
    from bench.training.collect import CollectedRun

    given = parse(arguments)
    words = sys.argv[1:] if arguments is None else arguments
    command = recorded(PROG, [word for word in words if word != "--resume"])  # which has a value in bench/run.py
    runs = [(what, CollectedRun(job, given.out, command)) for what, job in wanted(given)]
    console = cli.make_console(to_stderr=given.json)

    def show(event: Event) -> None:
        cli.print_line(console, str(event))

    if given.resume:
        collect.go_on([run for _, run in runs])
    with cli.terminating(), executor(given) as (execute, template):
        if not given.dry_run:
            spread.resume([run for _, run in runs])
        planned = [(run, [template(passed(what, given), seed) for seed in run.missing_seeds]) for what, run in runs]
        if given.dry_run:
            every = [task for _, tasks in planned for task in tasks]
            print("\n".join(shlex.join(task.launch(given.out).command) for task in every))
            return cli.OK
        try:
            with cli.kept_for_json(given.json):
                return spread.train(planned, execute, show, PROG)
        finally:
            print_runs(console, [run.path for _, run in runs if run.path], given)


@contextlib.contextmanager
def executor(given: SweepOptions) -> "Iterator[tuple[Execute, Callable[[tuple[str, ...], int], TrialTask]]]":
    """What trains tasks, and what makes a task from the arguments and the seed of a trial.

    A dry run starts no Ray: what trains its tasks is not used.
    """
    from bench.training import cluster
    from bench.training.tasks import TrialTask, one_after_another

    size = {"processes": given.processes, "timeout": given.timeout, "folder": Path.cwd()}
    if not given.by_ray:
        threads = given.threads or max(1, runtime.cores() // given.processes)
        yield one_after_another, partial(TrialTask, threads=threads, device=given.device, **size)
        return
    want = resources.Wanted(
        device=given.device,
        threads=given.threads,
        processes=given.processes,
        workers=given.workers,
        gpu_share=given.gpu_share,
    )
    room = {} if given.cluster else resources.room_here(want)

    def template(nodes: Sequence[Mapping[str, float]]) -> "Callable[[tuple[str, ...], int], TrialTask]":
        gpus, threads = resources.per_process(want, nodes)
        device = "cuda" if gpus else "cpu"
        return partial(TrialTask, threads=threads, device=device, gpus_per_process=gpus, **size)

    if given.dry_run and room:
        yield one_after_another, template([{"CPU": room["cpus"], "GPU": room["gpus"]}])
        return
    with cluster.joined(given.cluster, **room) as joined:
        yield joined.train, template(joined.nodes)


def wanted(given: SweepOptions) -> list[tuple[list[str], jobs.Job]]:
    """Every recipe as it is named, with its options, and the run to make of it. ValueError for one that is missing or
    wrong."""
    found = []
    for name, trials, variation in jobs.select_varied(given, given.trials, given.overrides):
        overrides = [*given.overrides, *variation.overrides]
        recipe = jobs.load_any(name, overrides, smoke_test=given.smoke_test)
        suffix = variation.suffix
        job = jobs.new_job(name, recipe, given.seed or 0, trials, smoke_test=given.smoke_test, suffix=suffix)
        found.append(([name, *overrides], job))
    return found


def passed(what: Sequence[str], given: SweepOptions) -> tuple[str, ...]:
    """What bench/run.py is given for each trial of a recipe. Folders are those of this process."""
    folder = () if given.data_dir == default_folder() else ("--data-dir", str(given.data_dir.absolute()))
    return (*what, *options.to_arguments(given, SmokeTest), *folder)


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
