"""`bench/run.py RECIPES --side-by-side 2`: recipes in several processes at once, each with its own share of the cores
and, where there are GPUs, a GPU of its own.

A table of many recipes is done sooner that way, because small networks leave most of a machine idle. Clocks then run
beside a neighbour's work, which the machine class of each record says, so that nothing is compared across it unawares.
"""

import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from bench import run_arguments
from bench.run_arguments import Options
from bench.scaling import RUN, clean
from pipelines.host import nvml, runtime

RECORD = "record: "
"""begins the line in which a launch names the record that it kept"""


@dataclass(frozen=True)
class Place:
    """What a launch has to itself."""

    cores: tuple[int, ...]
    gpu: str | None = None
    """as CUDA_VISIBLE_DEVICES names it; None on a machine without"""


def places(count: int, cores: Sequence[int], gpus: Sequence[str]) -> list[Place]:
    """The machine in `count` equal shares. ValueError where one would have no core or, beside GPUs, no GPU."""
    share = len(cores) // count
    if share == 0:
        raise ValueError(f"--side-by-side {count}: there are {len(cores)} cores; say at most so many")
    if gpus and count > len(gpus):
        raise ValueError(f"--side-by-side {count}: each takes a GPU, and there are {len(gpus)}; or say --device cpu")
    each = [tuple(cores[index * share : (index + 1) * share]) for index in range(count)]
    return [Place(own, gpus[index] if gpus else None) for index, own in enumerate(each)]


def arguments_of(options: Options, name: str, trials: int) -> list[str]:
    """What the launch of one recipe is told."""
    knobs = [word for word in options.words if "=" in word]
    flags = [f"--{flag}" for flag in ("sample", "track") if getattr(options, flag)]
    valued = {
        "--trials": trials,
        "--seed": options.seed or 0,
        "--device": options.device,
        "--protocol": options.protocol,
        "--data-dir": options.data_dir,
        "--out": options.out,
    }
    threads = ["--threads", str(options.threads)] if options.threads else []
    return [name, *knobs, *flags, *threads, "--quiet", *(str(word) for pair in valued.items() for word in pair)]


def variables(given: Mapping[str, str], place: Place, count: int) -> dict[str, str]:
    """The environment of a launch."""
    own = {runtime.AT_A_TIME: str(count)} | ({"CUDA_VISIBLE_DEVICES": place.gpu} if place.gpu else {})
    return clean(given, len(place.cores)) | own


@dataclass
class Launches:
    """What is still to be launched, what runs, and what came of it."""

    options: Options
    waiting: deque[tuple[str, int]]
    """recipe, trials"""
    places: list[Place]
    running: dict[Place, subprocess.Popen[str]] = field(default_factory=dict)
    stopped_by: int | None = None
    """the signal that ended them all"""
    kept: list[Path] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)

    def work(self, place: Place) -> None:
        """Launch one after the other in a place, in a thread of its own."""
        os.sched_setaffinity(0, place.cores)  # of this thread, and so of what it starts
        while True:
            try:
                name, trials = self.waiting.popleft()
            except IndexError:
                return
            self.launch(place, name, trials)

    def launch(self, place: Place, name: str, trials: int) -> None:
        """Train one recipe, hand on a line a trial, and note what it kept."""
        process = subprocess.Popen(  # noqa: S603  no shell
            [sys.executable, str(RUN), *arguments_of(self.options, name, trials)],
            env=variables(os.environ, place, len(self.places)),
            stdout=subprocess.PIPE,
            text=True,
            process_group=0,  # a terminal's Ctrl-C comes to us alone, and `stop` hands it on once
        )
        self.running[place] = process
        if self.stopped_by:
            process.send_signal(self.stopped_by)
        assert process.stdout
        for line in process.stdout:
            if line.startswith(f"{run_arguments.run_name(name)}: "):
                print(line, end="", flush=True)
            elif line.startswith(RECORD):
                self.kept.append(Path(line.removeprefix(RECORD).rstrip()))
        status = process.wait()
        self.statuses.append(status if status >= 0 else 128 - status)  # as a shell counts signals

    def stop(self, signum: int, frame: FrameType | None) -> None:
        """Launch no more and end what runs: a signal handler."""
        self.stopped_by = signum
        self.waiting.clear()
        for process in list(self.running.values()):
            process.send_signal(signum)


def main(options: Options) -> int:
    """Launch every recipe, as many at a time as there are places, then print the tables of all. Returns the highest
    exit status.

    ValueError as `places` and `run_arguments.jobs`, and for more than one process.
    """
    run_arguments.jobs(options)  # says what is wrong before anything is launched
    if os.environ.get("WORLD_SIZE", "1") != "1":
        raise ValueError("--side-by-side starts the processes itself: launch it in one")
    gpus = [] if options.device == "cpu" else nvml.visible(os.environ)
    shares = places(options.side_by_side or 1, sorted(os.sched_getaffinity(0)), gpus)
    launches = Launches(options, deque(run_arguments.named(options)), shares)
    previous = [signal.signal(number, launches.stop) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        with ThreadPoolExecutor(len(shares)) as pool:
            list(pool.map(launches.work, shares))
    finally:
        for number, handler in zip((signal.SIGINT, signal.SIGTERM), previous, strict=True):
            signal.signal(number, handler)
    show(launches.kept, options.protocol)
    return max(launches.statuses, default=130)


def show(paths: Sequence[Path], protocol: str) -> None:
    """Print the tables of these runs, if there are any."""
    from rich.console import Console

    from results import store
    from results.tables.overview import overview

    runs = sorted(store.find(paths), key=lambda run: run.record.recipe_name) if paths else []
    console = Console()
    for table in overview(runs, protocol):
        console.print(table.rich())
    for path in paths:
        console.print(f"{RECORD}{path}", highlight=False, soft_wrap=True)
