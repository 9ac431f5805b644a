"""Compare two sides: what became faster, slower or less accurate, and how sure that is."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if __name__ == "__main__":  # this tree, whatever else is installed
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.command_line import cli
from bench.command_line.options import Parser
from results.facts import FACTS

if TYPE_CHECKING:
    from results.compare import Comparison
    from results.samples import Samples

EPILOG = """\
A side is a run's directory, a folder of runs, a glob, a recipe as bench/run.py takes it (a name, a YAML file or
FILE.py:FUNCTION: all runs of that name under --runs and results/measured), NAME@COMMIT (those at that commit),
published (every figure of the literature) or published:NAME; or JSON of pytest-benchmark, a file or a folder or glob
of them, where each file is one sample of each of its benchmarks.

examples:
  python bench/compare.py runs/20260101T120000Z_mnist-base_a1b2c3 runs/20260102T120000Z_mnist-base_d4e5f6
  python bench/compare.py mnist/base@HEAD~1 mnist/base@HEAD --fail-on time:5% --fail-on accuracy:0.3
  python bench/compare.py before after --fail-on accuracy:0.1       is the mean accuracy the same within 0.1 points?
  python bench/compare.py before after --laps                       in which laps did the time change?
  python bench/compare.py before.json after.json --fail-on time:5%
  python bench/compare.py published:cifar10/airbench94 cifar10/airbench94 --protocol airbench --across machine
"""


@cli.command
def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, compare, print; what makes --help wait is imported after it."""
    options = parse(arguments)
    from bench.command_line.jobs import run_name
    from results import benchmarks, compare, protocols, rules, samples

    def side(word: str) -> list[samples.Samples]:
        files = benchmarks.locate(word)
        if files:
            return benchmarks.read(files)
        name = word if Path(word).is_dir() else run_name(word)
        return samples.resolve(name, protocol, roots, cli.processors(), cli.warn, discard)

    if options.laps and options.format == "csv":
        raise ValueError("--laps with --format csv: a row of CSV has no place for laps; use another --format")
    protocol = protocols.parse(options.protocol)
    discard = ["throttled"] if options.discard_throttled else []
    chosen = rules.rules(options.fail_on or ["time:2%"])
    roots = (options.runs, samples.MEASURED)
    sides = [side(options.before), side(options.after)]
    comparisons = compare.compare(*sides, chosen, options.across)
    of_benchmarks = any(one.is_benchmark for one in sides[0])
    protocol = benchmarks.PROTOCOL if of_benchmarks else protocol
    both = [*sides[0], *sides[1]]
    of_runs = [warning for one in both for warning in one.warnings]
    without_trials = [f"{one.origin} has no trial" for one in both if one.is_empty]
    for warning in dict.fromkeys([*of_runs, *without_trials, *one_sided(*sides)]):
        cli.warn(warning)
    show(comparisons, protocol, options.format, with_laps=options.laps)
    return compare.status(comparisons, chosen)


def show(rows: Sequence["Comparison"], protocol: str, form: str, *, with_laps: bool) -> None:
    """Print the comparisons in a form of `--format`, or for `--json` as lines."""
    from results.breakdown import breakdown
    from results.tables import comparison, laps

    if form == "csv":
        print(comparison.as_csv(rows, protocol), end="")
        return
    breakdowns = [breakdown(row) for row in rows] if with_laps else [None] * len(rows)
    if with_laps and not any(breakdowns):
        cli.warn("--laps: no time is made up of laps and changed")
    objects = comparison.objects(rows, protocol)
    if with_laps:
        objects = [one | {"laps": laps.objects(each)} for one, each in zip(objects, breakdowns, strict=True)]
    tables = [comparison.table(rows, protocol)]
    if any(breakdowns):
        tables.append(laps.table([one for one in breakdowns if one]))
    if form == "lines":
        for one in objects:
            cli.print_json(one)
    elif form == "json":
        print(json.dumps(objects, indent=2, ensure_ascii=False))
    elif form == "markdown":
        print("\n".join(table.markdown() for table in tables), end="")
    else:
        for table in tables:
            cli.make_console().print(table.rich())


def one_sided(before: Sequence["Samples"], after: Sequence["Samples"]) -> list[str]:
    """A line for each run whose recipe is on one side alone, and so is not compared; none for the literature."""
    old, new = ({one.recipe for one in side} for side in (before, after))
    if old.isdisjoint(new):  # two recipes that are compared with each other
        return []
    sides = (("old", before, new), ("new", after, old))
    return [
        f"{one.recipe} is only on the {name} side"
        for name, side, other in sides
        for one in side
        if one.recipe not in other and not one.published
    ]


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options. Exits with status 2 and one line for a command line that is wrong."""
    parser = Parser("bench/compare.py", __doc__, EPILOG)
    add = parser.add_argument
    add("before", help="the old side")
    add("after", help="the new side")
    add("--protocol", default="strict", help="how times are counted (default: %(default)s)")
    rule = (
        "metric and the smallest change that counts: time:5%%, time-to-target:5%%, accuracy:0.1 (points), "
        "compile-time:10%%, peak-memory:2%%, epoch-time:2%%, images-per-second:2%%, tokens-per-second:2%%, "
        "step-time:2%%, energy:5%%"
    )
    add("--fail-on", action="append", metavar="RULE", help=f"{rule}; may be repeated (default: time:2%%)")
    facts = ", ".join(FACTS)
    add(
        "--across",
        action="append",
        default=[],
        metavar="FACT",
        help=f"what may differ between the sides: {facts}; may be repeated",
    )
    add("--discard-throttled", action="store_true", help="leave out the trials during which a GPU was throttled")
    add("--laps", action="store_true", help="show below the comparison in which laps a time changed")
    add("--format", choices=("table", "markdown", "csv", "json"), default="table", help="(default: %(default)s)")
    add("--json", dest="format", action="store_const", const="lines", help="print one JSON object per row, in a line")
    add("--runs", type=Path, default=Path("runs"), metavar="DIR", help="where records lie (default: %(default)s)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
