"""Search the knobs of a recipe: python bench/search.py mnist/base optimizer.lr=log:1e-4..1e-1 'batch_size=16|32|64'

The space is given by key=log:LOW..HIGH, key=LOW..HIGH or key=a|b|c, here or in a YAML file (--space); key=value is the
same for all. A coarse stage searches all of it, a refined one a quarter of each range around the best. Scores are
accuracies on held-out training images: the test set is never looked at. Start it several times with one --study, on one
machine or on several that share the file, and they search together; start it again and it goes on.
"""

import argparse
import sys
from pathlib import Path

import yaml

from bench import search_space
from bench.one_line_parser import OneLineParser
from bench.run_arguments import natural, positive, run_name
from pipelines.data.sources import default_folder
from pipelines.host import runtime
from pipelines.host.extras import require


def main(arguments: list[str] | None = None) -> int:
    """Parse, search, print. Exit status 2 for what the caller can mend; Ctrl-C loses the trial in progress."""
    options = parse(arguments)
    try:
        words = read_space(options.space) if options.space else {}
        for word in options.words:
            key, equals, text = word.partition("=")
            if not equals:
                raise ValueError(f"{word!r}: a knob is written key=value, key=low..high or key=a|b|c")
            words[key] = text
        space, fixed = search_space.split(words)
        require("optuna", "search")
        runtime.prepare(options.threads)
        return search(options, space, tuple(fixed))
    except (ValueError, OSError) as error:
        print(f"bench/search.py: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The options."""
    parser = OneLineParser(
        prog="bench/search.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("recipe", metavar="RECIPE", help="a recipe by name, or a path to a YAML file")
    add("words", nargs="*", metavar="key=SPACE", help="what may be tried, or one value for all")
    add("--space", type=Path, metavar="FILE", help="YAML file of `key: SPACE` lines; words go before it")
    add("--sampler", choices=("tpe", "random", "grid"), default="tpe", help="default: %(default)s")
    add("--pruner", choices=("median", "hyperband", "none"), default="median", help="default: %(default)s")
    add("--trials", type=positive, default=20, metavar="N", help="of each stage, by all processes (default: 20)")
    add("--points", type=positive, default=4, metavar="N", help="values of a range in a grid (default: 4)")
    add("--seeds", type=positive, default=1, metavar="N", help="trainings a score is the mean of (default: 1)")
    add("--validation", type=float, default=0.1, metavar="SHARE", help="of the training images (default: 0.1)")
    add("--sampler-seed", type=natural, metavar="S", help="each process its own (default: drawn)")
    add("--study", type=Path, metavar="FILE", help="journal (default: runs/search/RECIPE.journal)")
    add("--out", type=Path, metavar="FILE", help="the winning recipe (default: runs/search/RECIPE.yaml)")
    add("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    add("--threads", type=positive, metavar="N", help="CPU threads (default: the cores)")
    add("--data-dir", type=Path, default=default_folder(), metavar="DIR", help="where data sets lie")
    return parser.parse_intermixed_args(arguments)


def read_space(path: Path) -> dict[str, str]:
    """The lines of a space file, as on the command line. ValueError for what is no mapping of keys to texts."""
    try:
        lines = yaml.load(path.read_text(encoding="utf-8"), yaml.BaseLoader)  # noqa: S506  texts only
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(lines, dict) or not all(isinstance(text, str) for text in lines.values()):
        raise ValueError(f"{path}: a space is lines such as `optimizer.lr: log:1e-4..1e-1`")
    return lines


def search(options: argparse.Namespace, space: search_space.Space, fixed: tuple[str, ...]) -> int:
    """Run the search and show it. Imports torch and Optuna, which --help need not wait for."""
    from bench import search_study, search_view
    from bench.live_view import make_console
    from pipelines.data import sources
    from pipelines.host.devices import find_device

    plan = search_study.Plan(
        options.recipe,
        space,
        fixed,
        options.sampler,
        options.pruner,
        options.trials,
        options.points,
        options.validation,
        options.seeds,
        options.sampler_seed,
    )
    corners = [{key: part.points(2)[end] for key, part in space.items()} for end in (0, -1)]
    chosen = [plan.recipe(corner) for corner in corners]  # a knob that is not there is refused before a trial is run
    place = Path("runs/search") / run_name(options.recipe).replace("/", "-")
    out, journal = (options.out or place.with_suffix(".yaml")), (options.study or place.with_suffix(".journal"))
    console = make_console(is_main=True)
    dataset = sources.load(chosen[0].data.name, options.data_dir)
    device = find_device(options.device)
    say = lambda line: console.print(line, highlight=False, markup=False, soft_wrap=True)  # noqa: E731
    studies = search_study.run(plan, dataset, device, journal, say)
    for table in search_view.tables(studies):
        console.print(table.rich())
    search_view.write_winner(out, plan, studies)
    say(f"study: {journal}")
    say(f"winner: {out} (train it with: accelerate launch bench/run.py {out})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
