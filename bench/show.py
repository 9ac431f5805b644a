"""Print recorded runs: python bench/show.py runs

Runs that could be one are pooled: a row says of how many runs and hosts it is. They have the same recipe, data, target,
machine class, processor, processes, threads, versions and code. Where a row is of several hosts, a second table names
those that are slower or faster than the rest.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if __name__ == "__main__":  # this tree, whatever else is installed
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.command_line import cli
from bench.command_line.options import Parser


@cli.command
def main(arguments: Sequence[str] | None = None) -> int:
    """0, or 2 with a line for a place without runs."""
    options = parse(arguments)
    from bench.command_line.json_output import summary_object
    from bench.training import summaries
    from results import pools, protocols, store

    protocol = protocols.parse(options.protocol)
    runs = store.find(options.runs or ["runs"], cli.warn)
    pooled = pools.pool(runs)
    for warning in (warning for run in runs for warning in run.warnings):
        cli.warn(warning)
    if options.json:
        for run in pooled:
            cli.print_json(summary_object(run, protocol).model_dump())
        return cli.OK
    console = cli.make_console()
    summaries.print_overview(console, pooled, protocol)
    summaries.print_findings(console, pooled)
    for line in pools.reasons(pooled):
        cli.print_line(console, line)
    return cli.OK


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options. Exits with status 2 and one line for a command line that is wrong."""
    parser = Parser("bench/show.py", __doc__)
    add = parser.add_argument
    add("runs", nargs="*", metavar="RUNS", help="run directories, folders of them, globs (default: runs)")
    add("--protocol", default="strict", help="how times are counted (default: %(default)s)")
    add("--json", action="store_true", help="print a JSON object for each row")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
