"""Many recipes, several at a time, each on its own share of the cores and, where there are GPUs, on a GPU of its own.

Small networks leave most of a machine idle, so that many recipes are trained sooner this way. Their clocks run beside
other work. The machine class of their records says so, and they are not compared with runs that had the machine alone.

With --workers or --cluster Ray spreads single trials, over this machine or many, and this process records them.
"""

import math
import os
import shlex
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

if __name__ == "__main__":  # this tree, whatever else is installed
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.command_line import cli, jobs, options
from bench.command_line.invocation import without_folders
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
from bench.command_line.options import Argument, Count, Options, at_least_two, positive, share
from bench.training.events import Event, RunRecorded
from bench.training.launch import Children, Launch
from pipelines.data.sources import default_folder
from pipelines.host import nvml, runtime
from pipelines.recipe import Recipe

if TYPE_CHECKING:
    from rich.console import Console

PROG = "bench/sweep.py"
EXAMPLES = """\
examples:
  python bench/sweep.py 'mnist/*' --concurrent 2         two recipes at a time, each on half of the cores
  python bench/sweep.py --suite nightly-gpu --concurrent 8
  python bench/sweep.py --suite nightly-gpu --cluster auto       trials over all nodes of the cluster of this host
  python bench/sweep.py digits/short --trials 20 --workers 4     four trials at a time on this machine"""


@dataclass(frozen=True, kw_only=True)
class Passed(SmokeTest, Machine, Data, Records, Track):
    """What every launch is given as it is."""

    title = WHERE


@dataclass(frozen=True, kw_only=True)
class ByRay(Options):
    """How Ray spreads the trials."""

    title = "single trials, by Ray (extra `cluster`)"

    workers: Count | None = None
    """trials at a time on this machine"""
    cluster: Annotated[str, Argument(metavar="auto|ADDRESS")] | None = None
    """trials over the Ray cluster of this host, or at an address"""
    processes: Count = 1
    """processes that train a trial together, on one node"""
    gpu_share: Annotated[float, Argument(share, "SHARE")] | None = None
    """part of a GPU that a trial takes; needs --shared"""
    shared: bool = False
    """let trials share a GPU: their machine class says so"""
    timeout: Annotated[int, Argument(positive, "SECONDS")] | None = None
    """seconds after which a trial is stopped"""
    resume: bool = False
    """train what the latest unfinished runs in --out lack"""

    @property
    def by_ray(self) -> bool:
        """Whether Ray is asked for."""
        return self.workers is not None or self.cluster is not None


@dataclass(frozen=True, kw_only=True)
class SweepOptions(Suite, Trials, Passed, ByRay, Json, DryRun):
    """The options of bench/sweep.py."""

    title = WHERE

    concurrent: Annotated[int, Argument(at_least_two, "N")] | None = None
    """how many recipes train at a time (default: 2)"""

    def __post_init__(self) -> None:
        jobs.check_suite(self)
        if self.workers and self.cluster:
            raise ValueError("--workers is for this machine, --cluster for many: give one of them")
        given = [field.name for field in fields(ByRay) if getattr(self, field.name) != options.default_of(field)]
        if given and not self.by_ray:
            raise ValueError(f"--{given[0].replace('_', '-')} needs --workers or --cluster")
        if self.by_ray and (self.concurrent or self.track or self.dry_run):
            name = "--concurrent" if self.concurrent else "--track" if self.track else "--dry-run"
            raise ValueError(f"{name} does not work with --workers and --cluster: leave it out")
        if self.by_ray and self.device.startswith("cuda:"):
            raise ValueError(f"--device {self.device}: Ray chooses the GPU of each trial: say --device cuda")
        if (self.gpu_share is None) == self.shared:
            raise ValueError(
                "--shared needs --gpu-share"
                if self.shared
                else f"--gpu-share {self.gpu_share:g}: trials that share a GPU slow each other down; --shared allows it"
            )
        if self.shared and self.processes > 1:
            raise ValueError("--gpu-share is for trials of one process: leave --processes out")


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
    """Train every recipe and print the tables of all. Returns the highest exit status of a launch or a trial."""
    given = parse(arguments)
    return train_by_ray(given, arguments) if given.by_ray else train_here(given)


def train_here(given: SweepOptions) -> int:
    """Launch every recipe on this machine. Returns the highest exit status of a launch."""
    gpus = [] if given.device == "cpu" else nvml.visible(os.environ)
    shares = places(at_a_time(given), sorted(os.sched_getaffinity(0)), gpus)
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


def at_a_time(given: SweepOptions) -> int:
    """Recipes that train at a time without Ray."""
    return given.concurrent or 2


def train_by_ray(given: SweepOptions, arguments: Sequence[str] | None) -> int:
    """Train single trials on the workers of a Ray cluster. Returns the highest exit status of a trial."""
    from bench.training import cluster, spread
    from bench.training.collect import CollectedRun

    words = sys.argv[1:] if arguments is None else arguments
    described = without_folders([word for word in words if word != "--resume"])  # which has a value in bench/run.py
    recorded_as = ["bench/sweep.py", *map(jobs.encodable, described)]
    runs = [(name, CollectedRun(job, given.out, recorded_as)) for name, job in wanted(given)]
    console = cli.make_console(to_stderr=given.json)

    def show(event: Event) -> None:
        console.print(str(event), highlight=False, markup=False, soft_wrap=True)

    room = {} if given.cluster else room_here(given)
    with cli.terminating(), cluster.joined(given.cluster, **room) as joined:
        if given.resume:
            for _, run in runs:
                run.resume()
        gpus, threads = per_process(given, joined.nodes)
        shape = {"processes": given.processes, "threads": threads, "gpus": gpus, "timeout": given.timeout}
        planned = [
            (run, [cluster.TrialTask(passed(name, given), seed, Path.cwd(), **shape) for seed in run.missing_seeds])
            for name, run in runs
        ]
        try:
            return spread.train(planned, joined, show, PROG)
        finally:
            print_runs(console, [run.path for _, run in runs if run.path], given)


def wanted(given: SweepOptions) -> list[tuple[str, jobs.Job]]:
    """Every recipe as it was named, and the run to make of it. ValueError for one that is missing or wrong."""
    first = given.seed or 0
    found = []
    for name, trials in jobs.select(given, given.trials):
        recipe = jobs.load_any(name, given.overrides, smoke_test=given.smoke_test)
        means_nothing = given.smoke_test or (isinstance(recipe, Recipe) and not recipe.parallel.sync_gradients)
        found.append((name, jobs.Job(jobs.run_name(name), recipe, tuple(range(first, first + trials)), means_nothing)))
    return found


def passed(name: str, given: SweepOptions) -> tuple[str, ...]:
    """What bench/run.py is given for each trial of a recipe. Folders are those of this process."""
    folder = () if given.data_dir == default_folder() else ("--data-dir", str(given.data_dir.absolute()))
    return (name, *given.overrides, *options.to_arguments(given, SmokeTest), *folder)


def room_here(given: SweepOptions) -> dict[str, int]:
    """CPUs and GPUs that hold --workers trials of this machine, and no more. ValueError where it has too few."""
    assert given.workers
    processes = given.workers * given.processes
    cores = len(os.sched_getaffinity(0))
    if processes * (given.threads or 1) > cores:
        raise ValueError(f"--workers {given.workers}: their threads need more than the {cores} cores that there are")
    gpus = 0 if given.device == "cpu" else len(nvml.visible(os.environ))
    needed = math.ceil(processes * (given.gpu_share or 1))
    if gpus and needed > gpus:
        raise ValueError(f"--workers {given.workers}: they need {needed} GPUs, and there are {gpus}")
    threads = given.threads or cores // processes
    return {"cpus": processes * threads, "gpus": needed if gpus else 0}


def per_process(given: SweepOptions, nodes: Sequence[Mapping[str, float]]) -> tuple[float, int]:
    """The GPUs and the CPU threads of every process: the same on all nodes, so that their times compare.

    nodes: the resources of each. Without --threads, trials on GPUs share the CPUs of a node by its GPUs; a trial on
    CPUs has a whole node, or with --workers its part of this machine. ValueError where there is no GPU to train on.
    """
    with_gpus = [node for node in nodes if node.get("GPU", 0) > 0]
    if given.device == "cuda" and not with_gpus:
        raise ValueError("--device cuda: no node of the cluster has a GPU")
    gpus = (given.gpu_share or 1) if with_gpus and given.device != "cpu" else 0
    if given.shared and not gpus:
        raise ValueError("--gpu-share: no node of the cluster has a GPU")
    if given.threads:
        return gpus, given.threads
    if gpus:
        return gpus, max(1, int(min(node["CPU"] // (node["GPU"] / gpus) for node in with_gpus)))
    share = given.processes * (given.workers or 1)
    cpus = [node["CPU"] for node in nodes if node.get("CPU", 0) > 0]  # a head node may have none
    return 0, max(1, int(min(cpus, default=1) // share))


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
        found.append(Launch(tuple(words), variables={runtime.AT_A_TIME: str(at_a_time(given))}))
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
