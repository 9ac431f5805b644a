"""The command line of bench/run.py, and its help, which is made from the documented knobs."""

import argparse
import json
import os
import re
import textwrap
import typing
from dataclasses import dataclass
from pathlib import Path

from bench import suites
from bench.one_line_parser import OneLineParser
from pipelines import recipe as recipes
from pipelines.data.sources import default_folder
from pipelines.recipe import Recipe
from pipelines.recipe.knobs import documented, groups_in
from results import protocols, store

DEFAULT_RECIPE = "digits/quick"
DEFAULT_TRIALS = 3

EPILOG = """\
examples:
  accelerate launch bench/run.py                                  a first run in seconds, on data that is always there
  accelerate launch bench/run.py mnist/base --trials 10
  accelerate launch bench/run.py cifar10/davidnet-10 epochs=2 batch_size=256
  accelerate launch bench/run.py 'cifar10/*' --sample             does each of them work at all?
  accelerate launch bench/run.py mnist/base my.yaml --interleave    trials take turns: drift cancels out
  accelerate launch bench/run.py mnist/base batch_size=512 --scaling 1,2    what do more processes bring?
  python bench/run.py 'mnist/*' --side-by-side 2                  two recipes at a time, each on half of the cores
  accelerate launch bench/run.py --suite nightly                  the recipes and trials of configs/suites/nightly.yaml
  accelerate launch bench/run.py --resume runs/20260101T120000Z_mnist-base_a1b2c3

knobs of a recipe, each to be overridden as key=value or group.key=value:
"""


class Options(argparse.Namespace):
    """The command line, checked word by word."""

    words: list[str]
    trials: int | None
    seed: int | None
    folds: int | None
    sample: bool
    device: str
    threads: int | None
    protocol: str
    data_dir: Path
    out: Path
    resume: Path | None
    track: bool
    profile: bool
    energy: bool
    suite: str | None
    interleave: bool
    turns: str | None
    timeout: int
    batch_per_process: int | None
    scaling: list[int] | None
    side_by_side: int | None
    dry_run: bool
    quiet: bool
    list: bool


@dataclass(frozen=True)
class Job:
    """One run to make, or to finish."""

    name: str
    recipe: Recipe
    seeds: tuple[int, ...]
    sample: bool = False
    resume: Path | None = None


def jobs(options: Options) -> list[Job]:
    """The runs that the command line asks for. ValueError for a recipe, a knob or a run that is missing or wrong."""
    if options.resume:
        record = store.read(options.resume).record
        recipe = recipes.validate(record.recipe, str(options.resume))
        return [Job(record.recipe_name, recipe, tuple(record.seeds), record.smoke_test, options.resume)]
    overrides = [word for word in options.words if "=" in word]
    first = options.seed or 0
    folds = folds_of(options.folds)
    found = [
        (recipes.load(name, [*overrides, *fold]), name, trials) for name, trials in named(options) for fold in folds
    ]
    if options.interleave and not options.scaling and len(found) < 2:
        raise ValueError("--interleave takes two recipes at least; the same one twice will do")
    if options.sample:
        found = [(recipes.sample(recipe), name, trials) for recipe, name, trials in found]
    if options.batch_per_process:
        batch_size = options.batch_per_process * int(os.environ.get("WORLD_SIZE", "1"))
        found = [(recipe.with_batch(batch_size), name, trials) for recipe, name, trials in found]
    return [
        Job(run_name(name), recipe, tuple(range(first, first + trials)), options.sample or not recipe.parallel.exchange)
        for recipe, name, trials in found
    ]


def named(options: Options) -> list[tuple[str, int]]:
    """The recipes that are asked for, by name, and their number of trials. To take turns one may come twice."""
    if options.suite:
        return [(entry.recipe, entry.trials) for entry in suites.load(options.suite)]
    words = [word for word in options.words if "=" not in word] or [DEFAULT_RECIPE]
    groups = [[word] for word in words] if options.interleave else [words]
    return [(name, options.trials or DEFAULT_TRIALS) for group in groups for name in recipes.select(group)]


def folds_of(count: int | None) -> list[list[str]]:
    """The overrides of each run of a recipe: one run as it is, or one for each fold that is held out."""
    if count is None:
        return [[]]
    return [[f"data.folds={count}", f"data.fold={fold}", "data.evaluate=validation"] for fold in range(count)]


def run_name(recipe_name: str) -> str:
    """The name of a recipe, or of a YAML file anywhere, as records have it."""
    return Path(recipe_name).stem if recipe_name.endswith((".yaml", ".yml")) else recipe_name


def parse(arguments: list[str] | None = None) -> Options:
    """The options. Exits with status 2 and a sentence for a command line that makes no sense."""
    parser = OneLineParser(
        prog="bench/run.py",
        description="Train recipes under the clock and keep the record.",
        epilog=EPILOG + knob_help(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    words = f"recipes by name, glob or path to a YAML file, and knobs to override (default: {DEFAULT_RECIPE})"
    add("words", nargs="*", metavar="RECIPE | key=value", help=words)
    add("--trials", type=positive, metavar="N", help=f"trials a recipe, one seed each (default: {DEFAULT_TRIALS})")
    add("--seed", type=natural, metavar="S", help="seed of the first trial; the next ones count up (default: 0)")
    folds = "cross-validation: a run for each of so many parts of the training images, which it is evaluated on"
    add("--folds", type=several, metavar="K", help=folds)
    add("--sample", action="store_true", help="a few hundred images, a few steps: does it work at all?")
    add("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto, CUDA where there is one)")
    add("--threads", type=positive, metavar="N", help="CPU threads a process (default: its share of the cores)")
    rules = f"how times are counted: {', '.join(protocols.PROTOCOLS)} (default: %(default)s)"
    add("--protocol", type=protocol, default=protocols.DEFAULT, metavar="NAME", help=rules)
    folder = "where data sets lie, or are downloaded to (default: %(default)s)"
    add("--data-dir", type=Path, default=default_folder(), metavar="DIR", help=folder)
    add("--out", type=Path, default=Path("runs"), metavar="DIR", help="where records go (default: %(default)s)")
    add("--resume", type=Path, metavar="RUN", help="finish an interrupted run: train the seeds that are missing")
    add("--track", action="store_true", help="keep TensorBoard events beside the record (extra `track`)")
    where = "after the trials, a few steps under torch.profiler: where the time goes, and a trace beside the record"
    add("--profile", action="store_true", help=where)
    joules = "after the trials, repeat one for a minute and count the joules (NVML, or powercap as root)"
    add("--energy", action="store_true", help=joules)
    add("--suite", metavar="NAME", help="the recipes of configs/suites/NAME.yaml, or of a YAML file, with their trials")
    turns = "recipes take turns, a trial each, and are compared; the same one twice shows the machine's own noise"
    add("--interleave", action="store_true", help=turns)
    other = (
        "the same with other processes: wait for a line on standard input before each trial (bench/gate.py --against)"
    )
    add("--turns", type=name_of_turns, metavar="ID", help=other)
    weak = "images a process and step, so that more processes make a larger batch (default: they share the recipe's)"
    add("--batch-per-process", type=positive, metavar="B", help=weak)
    worlds = "train on 1, 2 and 4 processes of this machine, one size after the other, and show what that brought"
    add("--scaling", type=sizes, metavar="1,2,4", help=worlds)
    neighbours = "so many recipes at a time, each on its share of the cores, or a GPU of its own; the record says so"
    add("--side-by-side", type=several, metavar="N", help=neighbours)
    lost = "seconds until a process that does not answer the others is taken for lost (default: %(default)s)"
    add("--timeout", type=positive, default=300, metavar="SECONDS", help=lost)
    add("--dry-run", action="store_true", help="print the resolved recipe and what it will cost; train nothing")
    add("--quiet", action="store_true", help="a line a trial instead of live progress")
    add("--list", action="store_true", help="list the recipes that ship")
    options = parser.parse_intermixed_args(arguments, Options())
    others = (options.words, options.trials, options.seed is not None, options.sample, options.folds)
    if options.resume and any((*others, options.batch_per_process)):
        parser.error("--resume goes on with the recipe, trials and seeds of the run: give no others")
    recipe_words = [word for word in options.words if "=" not in word]
    if options.suite and (options.resume or options.trials or recipe_words):
        parser.error("--suite says which recipes and how many trials: give no others")
    if options.scaling and (options.resume or options.suite or options.folds or options.batch_per_process):
        parser.error("--scaling takes one recipe as it is: give no --resume, --suite, --folds or --batch-per-process")
    if options.side_by_side:
        alone = (
            "scaling",
            "interleave",
            "turns",
            "resume",
            "folds",
            "batch_per_process",
            "profile",
            "energy",
            "dry_run",
        )
        if given := [f"--{name.replace('_', '-')}" for name in alone if getattr(options, name)]:
            parser.error(f"--side-by-side does not go with {given[0]}: say one of them")
    if options.turns and (options.interleave or options.scaling):
        parser.error("--turns is for one recipe, in turns with other processes: give no --interleave or --scaling")
    if options.interleave and options.resume:
        parser.error("--interleave begins new runs: --resume one of them alone")
    return options


def knob_help() -> str:
    """Every knob with its type, default and documentation."""
    lines = []
    for key, field in documented(Recipe):
        default = "" if field.is_required() or groups_in(field.annotation) else f" [{json.dumps(field.get_default())}]"
        text = f"{type_name(field.annotation)}{default}: {' '.join((field.description or '').split())}"
        lines.append(textwrap.fill(text, 118, initial_indent=f"  {key:<34} ", subsequent_indent=" " * 37))
    return "\n".join(lines)


def type_name(annotation: object) -> str:
    """A type as the help shows it: `cifar10|mnist`, `int|null`, `list of number`."""
    if groups := groups_in(annotation):
        return "|".join(group.__name__.lower() for group in groups)
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return "|".join(map(str, inner))
    if origin is typing.Annotated:
        return type_name(inner[0])
    if origin is tuple:
        return f"list of {type_name(inner[0])}"
    if inner:
        return "|".join(type_name(part) for part in inner)
    names = {float: "number", int: "integer", str: "text", bool: "true|false", type(None): "null"}
    return names[typing.cast(type, annotation)]


def protocol(text: str) -> str:
    """The name of a protocol, or its old name."""
    try:
        return protocols.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def natural(text: str) -> int:
    """A whole number from 0 on."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 on")
    return int(text)


def positive(text: str) -> int:
    """A whole number from 1 on."""
    if natural(text) == 0:
        raise argparse.ArgumentTypeError("must be at least 1")
    return int(text)


def sizes(text: str) -> list[int]:
    """Two whole numbers or more from 1 on, with commas between, all different."""
    numbers = [positive(word) for word in text.split(",")]
    if len(numbers) < 2 or len(set(numbers)) < len(numbers):
        raise argparse.ArgumentTypeError(f"{text!r} is not two numbers or more, all different, such as 1,2,4")
    return numbers


def name_of_turns(text: str) -> str:
    """What the records of processes that take turns have in common."""
    if not re.fullmatch(r"[0-9A-Za-z]{1,40}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not 1 to 40 letters and digits")
    return text


def several(text: str) -> int:
    """A whole number from 2 on."""
    if positive(text) == 1:
        raise argparse.ArgumentTypeError("must be at least 2")
    return int(text)
