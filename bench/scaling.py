"""`bench/run.py RECIPE --scaling 1,2,4`: one recipe on several numbers of processes of this machine, launched anew for
each, and the tables of what that brought."""

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bench import run_arguments
from bench.run_arguments import Options
from pipelines.host import runtime

RUN = Path(__file__).with_name("run.py")
OF_A_LAUNCHER = ("ACCELERATE_", "MASTER_", "OMP_", "TORCHELASTIC_", "GROUP_", "LOCAL_", "ROLE_")
"""What variables of the launcher that started us begin with, which would mislead those that we start."""


@dataclass(frozen=True)
class Launch:
    """One command: so many processes, and what it changes in the recipe."""

    processes: int
    what: str
    changes: tuple[str, ...] = ()

    def command(self, arguments: Sequence[str]) -> list[str]:
        """As a command line."""
        several = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(self.processes)]
        launcher = several if self.processes > 1 else []
        return [sys.executable, *launcher, str(RUN), *arguments, *self.changes]


def launches(sizes: Sequence[int], batch_size: int) -> list[Launch]:
    """Strong scaling at `batch_size`, the same without exchange, and weak scaling from the smallest size on.

    ValueError for a batch that one of the sizes cannot share.
    """
    for size in sizes:
        if batch_size % size:
            raise ValueError(
                f"--scaling {size}: batch_size={batch_size} cannot be shared equally by {size} processes; "
                f"say batch_size={max(batch_size // size, 1) * size}"
            )
    smallest = min(sizes)
    planned = []
    for size in sorted(sizes):
        planned.append(Launch(size, f"{batch_size} images in all"))
        if size > 1:
            planned.append(Launch(size, "without exchange", ("parallel.exchange=false",)))
        if size > smallest:
            share = batch_size // smallest
            planned.append(Launch(size, f"{share} images each", ("--batch-per-process", str(share))))
    return planned


def arguments_of(options: Options, seeds: tuple[int, int], threads: int, out: Path) -> list[str]:
    """What every launch is told. seeds: the first one, and how many trials."""
    first, trials = seeds
    flags = [f"--{name}" for name in ("sample", "track", "profile") if getattr(options, name)]
    valued = {
        "--trials": trials,
        "--seed": first,
        "--device": options.device,
        "--threads": threads,
        "--protocol": options.protocol,
        "--data-dir": options.data_dir,
        "--out": out,
        "--timeout": options.timeout,
    }
    return [*options.words, *flags, "--quiet", *(str(word) for pair in valued.items() for word in pair)]


def clean(variables: Mapping[str, str], threads: int) -> dict[str, str]:
    """The environment without what our own launcher left in it; torchrun warns where no threads are named."""
    own = {"RANK", "WORLD_SIZE"}
    kept = {name: text for name, text in variables.items() if name not in own and not name.startswith(OF_A_LAUNCHER)}
    return kept | {"OMP_NUM_THREADS": str(threads)}


def main(options: Options) -> int:
    """Launch all, one after the other, and print the tables. Returns the exit status of the first that failed.

    ValueError for more than one recipe, more than one process, or a batch that cannot be shared.
    """
    jobs = run_arguments.jobs(options)
    if len(jobs) != 1:
        raise ValueError(f"--scaling takes one recipe, not {len(jobs)}")
    if os.environ.get("WORLD_SIZE", "1") != "1":
        raise ValueError("--scaling starts the processes itself: launch it in one")
    (job,) = jobs
    sizes = options.scaling or []
    planned = launches(sizes, job.recipe.batch_size)
    # as many threads for each process of every launch, so that a process is the same everywhere
    threads = options.threads or max(runtime.cores() // max(sizes), 1)
    moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    out = options.out / f"scaling_{moment}_{job.name.replace('/', '-')}"
    turns = [(seed, 1) for seed in job.seeds] if options.interleave else [(job.seeds[0], len(job.seeds))]
    commands = [
        (launch, launch.command(arguments_of(options, seeds, threads, out))) for seeds in turns for launch in planned
    ]
    if options.dry_run:
        print("\n".join(shlex.join(command) for _, command in commands))
        return 0
    status = 0
    for number, (launch, command) in enumerate(commands, start=1):
        plural = "es" * (launch.processes > 1)
        print(f"{number} of {len(commands)}: {launch.processes} process{plural}, {launch.what}", flush=True)
        status = run(command, clean(os.environ, threads))
        if status:
            break
    show(out, options.protocol)
    return status


def run(command: Sequence[str], variables: Mapping[str, str]) -> int:
    """Run it to its end, and end it with us. Its exit status."""
    process = subprocess.Popen(command, env=variables)  # noqa: S603  no shell
    previous = signal.signal(signal.SIGTERM, lambda signum, frame: process.terminate())
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.wait()  # the terminal has interrupted it as well
        raise
    finally:
        signal.signal(signal.SIGTERM, previous)


def show(folder: Path, protocol: str) -> None:
    """Print the tables of the runs in a folder, if there are any."""
    from rich.console import Console

    from results import store
    from results.tables.scaling import scaling_tables

    runs = store.find([folder]) if any(folder.glob("*/run.json")) else []
    console = Console()
    for table in scaling_tables(runs, protocol):
        console.print(table.rich())
    if runs:
        console.print(f"records: {folder}", highlight=False)
