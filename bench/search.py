"""Search the options of a recipe: python bench/search.py mnist/base optimizer.lr=log:1e-4..1e-1 'batch_size=16|32|64'

The space is given by key=log:LOW..HIGH, key=LOW..HIGH or key=a|b|c, here or in a YAML file (--space). key=value is the
same for all trials. A coarse stage searches the whole space, a refined stage a quarter of each range around the best.
Scores are accuracies on held-out training images; the test set is not used. Commands with the same --study file, on one
or several machines, share the work. Start a command again to continue its study.
"""

import contextlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

if __name__ == "__main__":  # this tree, whatever else is installed
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.command_line import cli, options
from bench.command_line.invocation import as_typed
from bench.command_line.jobs import run_name
from bench.command_line.option_groups import Data, Executor, Machine
from bench.command_line.options import Argument, Count, File, Seed
from bench.command_line.recipe_help import HelpAction, typed
from bench.searching import search_space
from pipelines.host import runtime
from pipelines.host.extras import require
from pipelines.recipe import yaml_reader

if TYPE_CHECKING:
    from bench.searching.search_study import Plan, TrainStage

PROG = "bench/search.py"


@dataclass(frozen=True, kw_only=True)
class SearchOptions(Machine, Data, Executor):
    """The options of bench/search.py."""

    title = "what to search"
    help_action = HelpAction

    recipe: Annotated[str, Argument(metavar="RECIPE", positional=True)]
    """a recipe by name, a YAML file, or FILE.py:FUNCTION"""
    words: Annotated[list[str], Argument(metavar="key=SPACE", positional=True)] = field(default_factory=list)
    """what may be tried, or one value for all trials"""
    space: File | None = None
    """YAML file of `key: SPACE` lines; an option of the command line replaces its line"""
    sampler: Literal["tpe", "random", "grid"] = "tpe"
    """what draws the values of a trial"""
    pruner: Literal["median", "hyperband", "none"] = "median"
    """what ends trials that fall behind"""
    trials: Count = 20
    """trials of each stage, by all processes together"""
    points: Count = 4
    """values of a range in a grid"""
    seeds: Count = 1
    """trainings whose mean accuracy is a score"""
    validation: Annotated[float, Argument(metavar="SHARE")] = 0.1
    """share of the training images that is held out"""
    sampler_seed: Seed | None = None
    """seed of the sampler, another one for each process (default: drawn); a grid needs none"""
    study: File | None = None
    """the journal of the study (default: runs/search/RECIPE.journal)"""
    out: File | None = None
    """where the best recipe is written (default: runs/search/RECIPE.yaml)"""


@cli.command
def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, search, print. Ctrl-C loses the trial in progress."""
    given = options.parse(SearchOptions, PROG, arguments, description=__doc__)
    words = read_space(given.space) if given.space else {}
    for word in given.words:
        key, equals, text = word.partition("=")
        if not equals:
            raise ValueError(f"{word!r}: an option is written key=value, key=low..high or key=a|b|c")
        words[key] = text
    space, fixed = search_space.split(words)
    require("optuna", "search")
    runtime.prepare(given.threads)
    return search(given, space, tuple(fixed))


def read_space(path: Path) -> dict[str, str]:
    """The lines of a space file, as on the command line. ValueError for what is no mapping of keys to values."""
    lines = yaml_reader.read_file(path)
    if not isinstance(lines, dict) or any(isinstance(value, dict) for value in lines.values()):
        raise ValueError(f"{path}: a space is lines such as `optimizer.lr: log:1e-4..1e-1`")
    return {key: typed(value) for key, value in lines.items()}


def search(given: SearchOptions, space: search_space.Space, fixed: tuple[str, ...]) -> int:
    """Run the search and show it. Imports torch and Optuna, which --help need not wait for."""
    from bench.searching import search_study, search_view
    from pipelines import recipe
    from pipelines.data import sources
    from pipelines.host.devices import find_device

    plan = search_study.Plan(
        given.recipe,
        space,
        fixed,
        given.sampler,
        given.pruner,
        given.trials,
        given.points,
        given.validation,
        given.seeds,
        given.sampler_seed,
    )
    chosen = [plan.recipe(corner) for corner in plan.corners]  # refuses an unknown option before any trial
    if any(isinstance(one, recipe.Command) for one in chosen):
        raise ValueError(f"{given.recipe}: is a command, and a search sets the arguments of a function: write one")
    if any(isinstance(one, recipe.Recipe) and one.target is None for one in chosen):
        raise ValueError(f"{given.recipe}: has no target, and a search compares accuracies: use bench/sweep.py")
    name = run_name(given.recipe).replace("/", "-").replace(":", "-")
    places = (Path("runs/search") / f"{name}.{kind}" for kind in ("yaml", "journal"))
    out, journal = (one or place for one, place in zip((given.out, given.study), places, strict=True))
    console = cli.make_console()
    device = find_device("cpu" if given.by_ray else given.device)  # this host may have no GPU, and the workers have
    first = chosen[0]
    is_read_here = isinstance(first, recipe.Recipe) and not given.by_ray
    dataset = sources.load_of(first.data, given.data_dir) if is_read_here else None
    for one in chosen if plan.is_own else ():
        search_study.trial_of(one, dataset, given.data_dir, device)  # refuses an unknown argument before any trial
    print_line = partial(cli.print_line, console)
    with (
        cli.terminating(),
        training(given, plan, partial(search_study.train_stage, plan, dataset, given.data_dir, device)) as train,
    ):
        studies = search_study.run(plan, journal, train, print_line)
    for table in search_view.tables(studies):
        console.print(table.rich())
    search_view.write_winner(out, plan, studies)
    print_line(f"study: {journal}")
    print_line(as_typed(f"winner: {out} (train it with: accelerate launch bench/run.py {out})"))
    return cli.OK


@contextlib.contextmanager
def training(given: SearchOptions, plan: "Plan", here: "TrainStage") -> "Iterator[TrainStage]":
    """What trains a stage: this process, or the workers of a Ray cluster."""
    if not given.by_ray:
        yield here
        return
    from bench.searching import search_cluster
    from bench.training import cluster, resources

    want = resources.Wanted(device=given.device, threads=given.threads, workers=given.workers)
    with cluster.joined(given.cluster, **({} if given.cluster else resources.room_here(want))) as joined:
        own = resources.per_process(want, joined.nodes)
        yield partial(search_cluster.train_stage, plan, joined, own, given.data_dir)


if __name__ == "__main__":
    sys.exit(main())
