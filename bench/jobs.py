"""What the command line of `bench/run.py` and its relatives asks for: recipes, their trials and seeds."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from bench import moved_options, options, suites
from bench.option_groups import (
    DEFAULT_TRIALS,
    OUTPUT,
    WHERE,
    Data,
    Json,
    Machine,
    Probes,
    Records,
    SmokeTest,
    Suite,
    Timeout,
    Trials,
)
from bench.options import Argument, Options, at_least_two, positive
from pipelines import recipe as recipes
from pipelines.recipe import Recipe
from results import store

PROG = "bench/run.py"
DESCRIPTION = "Train recipes under the clock and record the trials."
EXAMPLES = """\
examples:
  accelerate launch bench/run.py                                 a first run of a few seconds
  accelerate launch bench/run.py mnist/base --trials 10
  accelerate launch bench/run.py cifar10/davidnet-10 epochs=2 batch_size=256
  accelerate launch bench/run.py 'cifar10/*' --smoke-test        does each of them work?
  accelerate launch bench/run.py mnist/base my.yaml --interleave
  accelerate launch bench/run.py --resume runs/20260101T120000Z_mnist-base_a1b2c3"""


@dataclass(frozen=True, kw_only=True)
class Quiet(Options):
    """How much is printed."""

    title = OUTPUT

    quiet: bool = False
    """one line per trial in place of live progress"""


@dataclass(frozen=True, kw_only=True)
class Batch(Options):
    """A batch that grows with the number of processes."""

    title = WHERE

    batch_per_process: Annotated[int, Argument(positive, "B")] | None = None
    """images per process and step (default: a share of the batch)"""


@dataclass(frozen=True, kw_only=True)
class RunOptions(Suite, Trials, SmokeTest, Machine, Timeout, Batch, Data, Records, Probes, Quiet, Json):
    """The options of bench/run.py."""

    folds: Annotated[int, Argument(at_least_two, "K")] | None = None
    """cross-validation: K runs, a part held out in each"""
    interleave: bool = False
    """alternate the trials of the recipes, then compare them"""
    wait_for_quiet: Annotated[int, Argument(positive, "SECONDS")] | None = None
    """wait so long at most until other processes leave the CPUs free"""
    resume: Annotated[Path, Argument(metavar="RUN")] | None = None
    """train the seeds that an interrupted run lacks"""

    def __post_init__(self) -> None:
        settled = self.words or self.trials or self.seed is not None or self.smoke_test or self.folds
        if self.resume and (settled or self.batch_per_process or self.suite):
            raise ValueError("--resume continues with the recipe, trials and seeds of the run: give no others")
        if self.resume and self.interleave:
            raise ValueError("--interleave starts new runs: resume each run alone")
        check_suite(self)


def parse(arguments: Sequence[str] | None = None) -> RunOptions:
    """The options of bench/run.py. Exits with status 2 and one line for a command line that is wrong."""
    words = sys.argv[1:] if arguments is None else arguments
    if command := moved_options.new_command(words):
        print(f"{PROG}: error: this is a command of its own now: {command}", file=sys.stderr)
        raise SystemExit(2)
    return options.parse(RunOptions, PROG, words, description=DESCRIPTION, epilog=EXAMPLES)


@dataclass(frozen=True)
class Job:
    """One run to make, or to finish."""

    name: str
    recipe: Recipe
    seeds: tuple[int, ...]
    smoke_test: bool = False
    resume: Path | None = None


def check_suite(options: Suite) -> None:
    """ValueError for a suite together with recipes or a number of trials."""
    if options.suite and (getattr(options, "trials", None) or any("=" not in word for word in options.words)):
        raise ValueError("--suite says which recipes and how many trials: give no others")


def jobs(options: RunOptions) -> list[Job]:
    """The runs that a command line asks for. ValueError for a recipe, an option or a run that is missing or wrong."""
    if options.resume:
        return [job_of_run(options.resume)]
    named = select(options, options.trials, repeat=options.interleave)
    if options.interleave and len(named) * len(folds_of(options.folds)) < 2:
        raise ValueError("--interleave needs two recipes or more; the same recipe twice is allowed")
    first = options.seed or 0
    found = []
    for name, trials in named:
        for fold in folds_of(options.folds):
            recipe = load(name, [*options.overrides, *fold], smoke_test=options.smoke_test)
            if options.batch_per_process:
                processes = int(os.environ.get("WORLD_SIZE", "1"))
                recipe = recipe.with_batch(options.batch_per_process * processes)
            means_nothing = options.smoke_test or not recipe.parallel.sync_gradients
            found.append(Job(run_name(name), recipe, tuple(range(first, first + trials)), means_nothing))
    return found


def job_of_run(path: Path) -> Job:
    """What is left to do of a run. ValueError where it cannot be read, or its recipe is no longer valid."""
    record = store.read(path).record
    recipe = recipes.validate(record.recipe, str(path))
    return Job(record.recipe_name, recipe, tuple(record.seeds), record.smoke_test, path)


def select(options: Suite, trials: int | None = None, *, repeat: bool = False) -> list[tuple[str, int]]:
    """The recipes that are asked for, by name, with their number of trials. `repeat`: one may be named twice."""
    if options.suite:
        return [(entry.recipe, entry.trials) for entry in suites.load(options.suite)]
    groups = [[name] for name in options.names] if repeat else [options.names]
    return [(name, trials or DEFAULT_TRIALS) for group in groups for name in recipes.select(group)]


def load(name: str, overrides: Sequence[str], *, smoke_test: bool = False) -> Recipe:
    """A recipe as it is trained."""
    recipe = recipes.load(name, overrides)
    return recipes.smoke_test(recipe) if smoke_test else recipe


def folds_of(count: int | None) -> list[list[str]]:
    """The overrides of each run of a recipe: one run without any, or one for each fold that is held out."""
    if count is None:
        return [[]]
    return [[f"data.folds={count}", f"data.fold={fold}", "data.evaluate=validation"] for fold in range(count)]


def run_name(recipe_name: str) -> str:
    """The name of a recipe, or of a YAML file anywhere, as records have it."""
    return Path(recipe_name).stem if recipe_name.endswith((".yaml", ".yml")) else recipe_name
