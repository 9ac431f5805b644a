"""Train one recipe on several numbers of processes of this machine, and print scaling tables.

The tables show strong scaling (all processes share the batch), the same steps without the gradient all-reduce, and weak
scaling (each process has as many images as at the smallest size). Every process has the same number of threads.
"""

import contextlib
import os
import secrets
import shlex
import sys
from argparse import ArgumentTypeError
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated

if __name__ == "__main__":  # this tree, whatever else is installed
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.command_line import cli, jobs, options
from bench.command_line.option_groups import (
    DEFAULT_TRIALS,
    WHAT,
    WHERE,
    Data,
    DryRun,
    Json,
    Machine,
    MemoryLimit,
    Probes,
    Recipes,
    Records,
    SmokeTest,
    Timeout,
    Trials,
)
from bench.command_line.options import Argument, positive
from bench.training.launch import Children, Launch, torchrun
from pipelines import recipe as recipes
from pipelines.host import extras, nvml, runtime
from pipelines.recipe import Recipe, processes
from pipelines.recipe.parallel import STRATEGIES

PROG = "bench/scale.py"
EXAMPLES = """\
examples:
  python bench/scale.py mnist/base batch_size=512 --processes 1,2
  python bench/scale.py cifar10/davidnet-10 --processes 1,2,4,8 --trials 10 --by-seed
  python bench/scale.py mnist/strategies/ddp --strategies ddp,fsdp2,local-sgd,pipeline,tensor --processes 1,2
  python bench/scale.py cifar10/strategies/wide-resnet --strategies ddp,fsdp2 --processes 2 --memory-limit 1GiB"""


def sizes(text: str) -> list[int]:
    """Whole numbers from 1 on, all different, with commas between them."""
    numbers = [positive(word) for word in text.split(",")]
    if len(set(numbers)) < len(numbers):
        raise ArgumentTypeError(f"{text!r} has a number twice")
    return numbers


def strategy_names(text: str) -> list[str]:
    """Names of strategies, all different, with commas between them."""
    names = text.split(",")
    if unknown := [name for name in names if name not in STRATEGIES]:
        raise ArgumentTypeError(f"there is no strategy {unknown[0]!r}: there are {', '.join(STRATEGIES)}")
    if len(set(names)) < len(names):
        raise ArgumentTypeError(f"{text!r} names a strategy twice")
    return names


@dataclass(frozen=True, kw_only=True)
class Passed(SmokeTest, Machine, MemoryLimit, Timeout, Data, Records, Probes):
    """What every launch is given as it is."""

    title = WHERE


@dataclass(frozen=True, kw_only=True)
class ScaleOptions(Recipes, Trials, Passed, Json, DryRun):
    """The options of bench/scale.py."""

    title = WHAT

    processes: Annotated[list[int], Argument(sizes, "1,2,4")] = field(default_factory=lambda: [1, 2])
    """numbers of processes"""
    strategies: Annotated[list[str], Argument(strategy_names, "ddp,fsdp2,zero-1")] = field(default_factory=list)
    """compare strategies at a fixed batch, bytes sent included"""
    by_seed: bool = False
    """all sizes with one seed before the next seed, so that drift affects all sizes"""

    def __post_init__(self) -> None:
        if len(self.processes) < 2 and not self.strategies:
            raise ValueError("--processes needs two numbers or more, such as 1,2,4, or --strategies")


@dataclass(frozen=True)
class Size:
    """A number of processes, and what it changes in the command."""

    processes: int
    label: str
    changes: tuple[str, ...] = ()

    def launch(self, arguments: Sequence[str]) -> Launch:
        """Training at this size."""
        return Launch((*arguments, *self.changes), torchrun(self.processes))


def parse(arguments: Sequence[str] | None = None) -> ScaleOptions:
    """The options. Exits with status 2 and one line for a command line that is wrong."""
    return options.parse(ScaleOptions, PROG, arguments, description=__doc__, epilog=EXAMPLES)


@cli.command
def main(arguments: Sequence[str] | None = None) -> int:
    """Launch all sizes one after the other and print the tables.

    Returns the status of the first launch that failed, and ends there. Out of memory is a strategy's result.
    """
    given = parse(arguments)
    name, recipe = the_recipe(given)
    moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    folder = given.out / f"scaling_{moment}_{name.replace('/', '-')}_{secrets.token_hex(4)}"
    launches = planned(given, recipe, folder)
    if given.dry_run:
        print("\n".join(shlex.join(launch.command) for _, launch in launches))
        return cli.OK
    check_packages(given, [size for size, _ in launches])
    check_gpus(given)
    console = cli.make_console(to_stderr=given.json)
    print_line = partial(cli.print_line, console)
    status = cli.OK
    try:
        with Children() as children:
            for number, (size, launch) in enumerate(launches, start=1):
                plural = "es" * (size.processes > 1)
                print_line(f"{number} of {len(launches)}: {size.processes} process{plural}, {size.label}")
                known = run_paths(folder)
                status = children.run(launch, lambda event: print_line(str(event)))
                children.raise_if_stopped()
                if status and given.strategies and is_out_of_memory(run_paths(folder) - known):
                    print_line("out of memory: the table says so, and the next strategy follows")
                    status = cli.OK
                if status:
                    break
    finally:
        show(folder, given)
    return status


def run_paths(folder: Path) -> set[Path]:
    """The runs recorded in a folder."""
    return {record.parent for record in folder.glob("*/run.json")}


def is_out_of_memory(paths: Iterable[Path]) -> bool:
    """Whether one of these runs ended because a process had not enough memory."""
    from results import store

    return any(store.read(path).is_out_of_memory for path in paths)


def the_recipe(given: ScaleOptions) -> tuple[str, Recipe]:
    """The name of the one recipe that is asked for, and itself. ValueError for more than one."""
    names = recipes.select(given.names)
    if len(names) != 1:
        raise ValueError(f"{PROG} takes one recipe, not {len(names)}")
    recipe = jobs.load(names[0], given.overrides, smoke_test=given.smoke_test)
    return jobs.run_name(names[0]), recipe


def planned(given: ScaleOptions, recipe: Recipe, folder: Path) -> list[tuple[Size, Launch]]:
    """Every launch in its order. Records go to `folder`. ValueError as `check`."""
    threads = given.threads or max(runtime.cores() // max(given.processes), 1)
    trials, first = given.trials or DEFAULT_TRIALS, given.seed or 0
    rounds = [(first + index, 1) for index in range(trials)] if given.by_seed else [(first, trials)]
    passed = options.to_arguments(given, Passed, without=("out", "threads"))
    if given.strategies:
        sizes = by_strategy(given.processes, recipe, given.strategies)
    else:
        sizes = all_sizes(given.processes, recipe.batch_size)
    for size in sizes:
        check(given, size)
    found = []
    for seed, count in rounds:
        own = ["--trials", str(count), "--seed", str(seed), "--threads", str(threads), "--out", str(folder)]
        for size in sizes:
            found.append((size, size.launch([*given.names, *given.overrides, *passed, *own])))
    return found


def check(given: ScaleOptions, size: Size) -> None:
    """ValueError, before anything trains, where the recipe cannot be trained at this size."""
    recipe = recipe_of(given, size)
    with named(size):
        processes.check(recipe, size.processes)


def check_packages(given: ScaleOptions, sizes: Iterable[Size]) -> None:
    """ValueError, before anything trains, where a strategy needs a package that is not installed here."""
    for size in dict.fromkeys(sizes):
        package = recipe_of(given, size).parallel.package if size.processes > 1 else None
        if package:
            with named(size):
                extras.check(package, package)


def check_gpus(given: ScaleOptions) -> None:
    """ValueError, before anything trains, where there are GPUs, but not one for each process."""
    gpus = 0 if given.device == "cpu" else len(nvml.visible(os.environ))
    if 0 < gpus < max(given.processes):
        raise ValueError(
            f"--processes {max(given.processes)}: each process takes a GPU of its own, and there are {gpus}: use at "
            f"most {gpus}, or --device cpu"
        )


def recipe_of(given: ScaleOptions, size: Size) -> Recipe:
    """The recipe as it is trained at this size. ValueError for options that do not go together."""
    (name,) = recipes.select(given.names)
    changes = [change for change in size.changes if "=" in change]  # the others are options of bench/run.py
    with named(size):
        return jobs.load(name, [*given.overrides, *changes], smoke_test=given.smoke_test)


@contextlib.contextmanager
def named(size: Size) -> Iterator[None]:
    """A ValueError within names the size."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"--processes {size.processes}, {size.label}: {error}") from None


def by_strategy(processes: Sequence[int], recipe: Recipe, strategies: Sequence[str]) -> list[Size]:
    """Strong scaling under each strategy, beside one process alone. Pipelines have a micro-batch or more a process."""
    found = [Size(1, f"{recipe.batch_size} images per step")] if 1 in processes else []
    for strategy in strategies:
        for size in sorted(size for size in processes if size > 1):
            changes = STRATEGIES[strategy]
            stages = 2 if "parallel.size=2" in changes else size
            if "parallel.strategy=pipeline" in changes and recipe.accumulation < stages:
                changes += (f"accumulation={2 * stages}", "drop_last=true")
            found.append(Size(size, strategy, (*changes, "--communication")))
    return found


def all_sizes(processes: Sequence[int], batch_size: int) -> list[Size]:
    """Strong scaling at `batch_size`, also without the gradient all-reduce, and weak scaling from the smallest on."""
    smallest = min(processes)
    found = []
    for size in sorted(processes):
        found.append(Size(size, f"{batch_size} images per step"))
        if size > 1:
            found.append(Size(size, "without the gradient all-reduce", ("parallel.sync_gradients=false",)))
        if size > smallest:
            share = batch_size // smallest
            found.append(Size(size, f"{share} images per process and step", ("--batch-per-process", str(share))))
    return found


def show(folder: Path, given: ScaleOptions) -> None:
    """Print the tables of the runs in a folder, or a JSON object per run, if there are any."""
    from bench.command_line.json_output import run_object
    from results import store
    from results.tables.scaling import scaling_tables
    from results.tables.strategies import scaling_by_strategy

    runs = store.runs_in(folder)
    if given.json:
        for run in runs:
            cli.print_json(run_object(run, given.protocol).model_dump())
    if given.json or not runs:
        return
    console = cli.make_console()
    tables = [scaling_by_strategy(runs, given.protocol)] if given.strategies else scaling_tables(runs, given.protocol)
    for table in tables:
        console.print(table.rich())
    cli.print_line(console, f"records: {folder}")


if __name__ == "__main__":
    sys.exit(main())
