"""What the command line of `bench/run.py` and its relatives asks for: recipes, their trials and seeds."""

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

from bench.command_line import options, suites, variations
from bench.command_line.invocation import encodable
from bench.command_line.option_groups import (
    DEFAULT_TRIALS,
    OUTPUT,
    WHERE,
    Data,
    Json,
    Machine,
    MemoryLimit,
    Probes,
    Records,
    SmokeTest,
    Suite,
    Timeout,
    Trials,
    Vary,
)
from bench.command_line.options import Argument, Options, at_least, default_of, positive, share
from bench.command_line.variations import Variation
from pipelines import recipe as recipes
from pipelines.recipe import Recipe, Script
from pipelines.recipe.scripts import Command, display_name, is_entry
from pipelines.scripts.metrics import reader
from results import store
from results.facts import FACTS
from results.record import Plan
from results.rules import Rules, rules

PROG = "bench/run.py"
DESCRIPTION = "Train recipes under the clock and record the trials."
EXAMPLES = """\
examples:
  accelerate launch bench/run.py                                 a first run of a few seconds
  accelerate launch bench/run.py mnist/base --trials 10 --vary 'epochs=8|9|10'
  accelerate launch bench/run.py 'cifar10/*' --smoke-test        does each of them work?
  accelerate launch bench/run.py mnist/base my.yaml --interleave --trials 40 --until-decided
  accelerate launch bench/run.py my_file.py:train --target 0.94 lr=0.3
  python bench/run.py --command 'python train.py --seed {seed}' --target 0.94
  accelerate launch bench/run.py --resume runs/20260101T120000Z_mnist-base_a1b2c3"""


def metrics_of(text: str) -> str:
    """What `--metrics` may be."""
    try:
        reader(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


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
    """images per process and step (default: its share)"""


@dataclass(frozen=True, kw_only=True)
class RunOptions(Vary, Trials, SmokeTest, Machine, MemoryLimit, Timeout, Batch, Data, Records, Probes, Quiet, Json):
    """The options of bench/run.py."""

    command: Annotated[list[str], Argument(metavar="'PROGRAM …'")] = field(default_factory=list)
    """command to start once per trial; {seed} is the seed"""
    metrics: Annotated[str, Argument(metrics_of, "HOW")] = "json"
    """figures: json, json:FILE or a regex"""
    target: Annotated[float, Argument(share, "SHARE")] | None = None
    """accuracy to reach (default: the recipe's)"""
    folds: Annotated[int, Argument(at_least(2), "K")] | None = None
    """cross-validation: K runs, a part held out in each"""
    interleave: bool = False
    """alternate the recipes' trials, then compare them"""
    until_decided: bool = False
    """train up to --trials, until a planned look decides"""
    limit: Annotated[list[str], Argument(metavar="RULE")] = field(default_factory=list)
    """smallest change that counts (time:5%); repeatable"""
    across: Annotated[list[str], Argument(metavar="FACT")] = field(default_factory=list)
    """what may differ in the comparison; may be repeated"""
    wait_for_quiet: Annotated[int, Argument(positive, "S")] | None = None
    """seconds to wait at most for idle CPUs"""
    resume: Annotated[list[Path], Argument(metavar="RUN")] = field(default_factory=list)
    """train missing seeds, or --trials N; may be repeated"""

    def __post_init__(self) -> None:
        what = self.words or self.suite or self.command or self.vary or self.seed is not None
        how = self.smoke_test or self.folds or self.target or self.batch_per_process
        if self.resume and (what or how):
            raise ValueError("--resume continues with the recipe and seeds of the run: give only --trials, for more")
        if self.resume and self.is_given("out"):
            raise ValueError(f"--resume writes to the run that it continues: leave out --out {self.out}")
        if self.command and (self.folds or self.batch_per_process):
            raise ValueError("--folds and --batch-per-process are for recipes: leave them out with --command")
        if self.is_given("metrics") and not self.command:
            raise ValueError("--metrics says where the figures of --command are: add that, or leave --metrics out")
        if self.vary and self.command:
            raise ValueError("--vary sets options of recipes and functions: write a --command for each value")
        if self.vary and self.folds and self.interleave:
            raise ValueError("--interleave compares one run of each value, and --folds makes several: leave one out")
        if self.resume and self.interleave:
            raise ValueError(
                "--interleave starts new runs: give --resume once for each of the runs that were interleaved"
            )
        if self.memory_limit and (self.is_interleaved or self.command):
            raise ValueError("--memory-limit limits this process in one run: leave out --interleave and --command")
        if self.across and not self.is_interleaved:
            raise ValueError("--across belongs to the comparison of --interleave: add that, or use bench/compare.py")
        if self.until_decided and self.resume:
            raise ValueError("--resume continues with the plan of the runs: leave out --until-decided")
        if self.until_decided and (not self.interleave or self.trials is None or self.folds):
            raise ValueError("--until-decided needs two recipes, --interleave and the most trials of each: --trials N")
        if self.limit and not self.interleave:
            raise ValueError("--limit belongs to --interleave: add that, or use bench/compare.py with --fail-on")
        rules(self.limit)
        if unknown := set(self.across) - set(FACTS):
            raise ValueError(f"--across {min(unknown)}: use one of {', '.join(FACTS)}")
        check_suite(self)

    @property
    def is_interleaved(self) -> bool:
        """Whether the trials of several runs alternate."""
        return self.interleave or len(self.resume) > 1

    def is_given(self, name: str) -> bool:
        """Whether a field is not as it is by default."""
        return getattr(self, name) != default_of(self.__dataclass_fields__[name])


def parse(arguments: Sequence[str] | None = None) -> RunOptions:
    """The options of bench/run.py. Exits with status 2 and one line for a command line that is wrong."""
    return options.parse(RunOptions, PROG, arguments, description=DESCRIPTION, epilog=EXAMPLES)


@dataclass(frozen=True)
class Job:
    """One run to make, or to finish."""

    name: str
    recipe: Recipe | Script
    seeds: tuple[int, ...]
    smoke_test: bool = False
    resume: Path | None = None
    interleaved: str | None = None
    """of the run to finish: what it shares with the runs that it was interleaved with"""
    plan: Plan | None = None
    """when its training may stop"""


def new_job(
    name: str, recipe: Recipe | Script, first: int, trials: int, *, smoke_test: bool = False, suffix: str = ""
) -> Job:
    """A run to make, from its first seed on. Without the gradient all-reduce it is a smoke test: its weights mean
    nothing. suffix: what the options that vary add to its name."""
    is_smoke_test = smoke_test or (isinstance(recipe, Recipe) and not recipe.parallel.sync_gradients)
    return Job(run_name(name) + suffix, recipe, tuple(range(first, first + trials)), is_smoke_test)


def check_suite(options: Suite) -> None:
    """ValueError for a suite together with recipes or a number of trials."""
    if options.suite and (getattr(options, "trials", None) or any("=" not in word for word in options.words)):
        raise ValueError("--suite says which recipes and how many trials: give no others")


def jobs(options: RunOptions) -> list[Job]:
    """The runs that a command line asks for. ValueError for a recipe, an option or a run that is missing or wrong."""
    if options.resume:
        return jobs_of_runs(options.resume, options.trials)
    is_named = options.suite or not options.command or any("=" not in word for word in options.words)
    target = [] if options.target is None else [f"target={options.target}"]
    batch = ["batch_size"] if options.batch_per_process else []
    fixed = [*options.overrides, *target, *folds_of(options.folds)[0], *batch]
    named = select_varied(options, options.trials, fixed, repeat=options.interleave) if is_named else []
    if options.interleave and len(named) * len(folds_of(options.folds)) + len(options.command) < 2:
        raise ValueError("--interleave needs two recipes or more; the same recipe twice is allowed")
    first = options.seed or 0
    found = []
    for name, trials, variation in named:
        if options.folds and recipes.is_own(name):
            raise ValueError(f"{name}: --folds needs the images of a recipe, and a training of your own has its own")
        for fold in folds_of(options.folds):
            overrides = [*options.overrides, *variation.overrides, *target, *fold]
            recipe = load_any(name, overrides, smoke_test=options.smoke_test)
            if options.batch_per_process:
                processes = int(os.environ.get("WORLD_SIZE", "1"))
                recipe = recipe.with_batch(options.batch_per_process * processes)
            job = new_job(name, recipe, first, trials, smoke_test=options.smoke_test, suffix=variation.suffix)
            found.append(job)
    for text in options.command:
        settings: dict[str, object] = {"command": text, "metrics": options.metrics, "title": text[:100]}
        command = recipes.load_own(settings, text, [*options.overrides, *target])
        assert isinstance(command, Command)
        seeds = tuple(range(first, first + (options.trials or DEFAULT_TRIALS)))
        found.append(Job(command.name, command, seeds, options.smoke_test))
    return until_decided(found, options) if options.until_decided else found


def until_decided(found: Sequence[Job], options: RunOptions) -> list[Job]:
    """Two runs with a plan. ValueError for more of them, and for too few trials."""
    from results.sequential import plan_looks

    if len(found) != 2:
        raise ValueError(
            f"--until-decided compares two runs, not {len(found)}: name two recipes, or two values of --vary"
        )
    try:
        plan = Plan(looks=plan_looks(len(found[0].seeds)), limits=rules(options.limit))
    except ValueError as error:
        raise ValueError(f"--trials {options.trials}: {error}") from None
    return [replace(job, plan=plan) for job in found]


def limits(options: RunOptions, planned: Sequence[Job]) -> Rules:
    """The smallest changes that count in the comparison of interleaved runs."""
    plan = planned[0].plan
    return plan.limits if plan else rules(options.limit)


def jobs_of_runs(paths: Sequence[Path], trials: int | None = None) -> list[Job]:
    """What is left to do of a run, or of several that were interleaved. ValueError for others, and as `job_of_run`."""
    found = [job_of_run(path, trials) for path in paths]
    first, *others = found
    for job in others:
        if job.interleaved is None or job.interleaved != first.interleaved:
            raise ValueError(f"--resume {job.resume}: was not interleaved with {first.resume}: resume each alone")
    if first.plan and not others:
        raise ValueError(f"--resume {first.resume}: was trained until decided with another run: resume both together")
    if len({job.resume.resolve() for job in found if job.resume}) < len(found):
        raise ValueError(f"--resume {first.resume}: is given twice")
    for job in found:
        if isinstance(job.recipe, Script) and (gone := [path for path in job.recipe.paths() if not path.exists()]):
            raise ValueError(f"--resume {job.resume}: {gone[0]} is not there: resume in the folder where the run began")
    return found


def job_of_run(path: Path, trials: int | None = None) -> Job:
    """What is left to do of a run, or of a run of more trials, which takes the seeds that follow.

    ValueError where it cannot be read, its recipe is no longer valid, or it has more trials.
    """
    run = store.read(path)
    record = run.record
    recipe = recipes.validate_any(record.recipe, str(path))
    seeds = list(record.seeds)
    if trials is not None and record.plan:
        raise ValueError(
            f"--trials {trials}: {path} was planned with at most {record.plan.most} trials, and more would be one more "
            "look: leave --trials out, or start new runs"
        )
    if trials is not None and trials < len(seeds):
        raise ValueError(f"--trials {trials}: {path} is a run of {len(seeds)} trials: give {len(seeds)} or more")
    if trials is not None:
        seeds += range(max(seeds) + 1, max(seeds) + 1 + trials - len(seeds))
    shared = {"interleaved": record.interleaved, "plan": record.plan}
    return Job(record.recipe_name, recipe, tuple(seeds), record.smoke_test, run.path, **shared)


def select(options: Suite, trials: int | None = None, *, repeat: bool = False) -> list[tuple[str, int]]:
    """The recipes that are asked for, by name, with their number of trials. `repeat`: one may be named twice."""
    if options.suite:
        return [(entry.recipe, entry.trials) for entry in suites.load(options.suite)]
    groups = [[name] for name in options.names] if repeat else [options.names]
    return [(name, trials or DEFAULT_TRIALS) for group in groups for name in recipes.select(group)]


def select_varied(
    options: Vary, trials: int | None, fixed: Sequence[str], *, repeat: bool = False
) -> list[tuple[str, int, Variation]]:
    """As `select`, once for each combination of the values of --vary. fixed: options with one value, `key=value`.

    Raises as `variations.parse`.
    """
    varied = variations.parse(options.vary, [word.partition("=")[0] for word in fixed])
    return [(*one, variation) for one in select(options, trials, repeat=repeat) for variation in varied]


def load(name: str, overrides: Sequence[str], *, smoke_test: bool = False) -> Recipe:
    """A recipe as it is trained."""
    recipe = recipes.load(name, overrides)
    return recipes.smoke_test(recipe) if smoke_test else recipe


def load_any(name: str, overrides: Sequence[str], *, smoke_test: bool = False) -> Recipe | Script:
    """A recipe, or a training of the user's own, as it is trained."""
    recipe = recipes.load_any(name, overrides)
    return recipes.smoke_test(recipe) if smoke_test and isinstance(recipe, Recipe) else recipe


def folds_of(count: int | None) -> list[list[str]]:
    """The overrides of each run of a recipe: one run without any, or one for each fold that is held out."""
    if count is None:
        return [[]]
    return [[f"data.folds={count}", f"data.fold={fold}", "data.evaluate=validation"] for fold in range(count)]


def run_name(recipe_name: str) -> str:
    """The name of a recipe, of a YAML file anywhere or of a function, as records have it."""
    if is_entry(recipe_name):
        return encodable(display_name(recipe_name))
    return encodable(Path(recipe_name).stem) if recipe_name.endswith((".yaml", ".yml")) else recipe_name
