"""SQL over run directories: python bench/query.py "select recipe, median(total_time) from trials group by 1"

Tables: runs, trials, epochs, laps. `total_time` and `time_to_target` are seconds under --protocol; a run has a total
time only if its mean accuracy is at or over the target. Accuracies are fractions. `describe trials` shows the columns.
The SQL cannot read or write files unless you pass --allow-files.
"""

import argparse
import csv
import sys
from collections.abc import Sequence
from pathlib import Path

if __name__ == "__main__":  # this tree, whatever else is installed
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.command_line import cli
from bench.command_line.options import Parser


@cli.command
def main(arguments: Sequence[str] | None = None) -> int:
    """0, or 2 with a line for a place without runs, or SQL that DuckDB does not take."""
    options = parse(arguments)
    from results import format as form
    from results import protocols, query, store

    places = store.with_scalings(options.runs or ["runs"])
    names = list(query.COLUMNS) if options.write else query.named_in(options.sql)
    protocol = protocols.parse(options.protocol)
    connection = query.database(places, protocol, names, cli.processors(), cli.warn, cli.warn)
    written = query.write(connection, options.write, options.files) if options.write else []
    if not options.allow_files:
        query.close_files(connection)
    columns, rows = query.ask(connection, options.sql)
    if options.format == "csv":
        csv.writer(sys.stdout, lineterminator="\n").writerows(map(form.cell, row) for row in [columns, *rows])
    elif options.format == "json":
        print(query.as_json(columns, rows))
    else:
        cli.make_console().print(query.as_table(columns, rows).rich())
    for path in written:
        print(f"written: {path}", file=sys.stderr)
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options. Exits with status 2 and one line for a command line that is wrong."""
    parser = Parser("bench/query.py", __doc__)
    add = parser.add_argument
    add("sql", help="the query")
    add("runs", nargs="*", metavar="RUNS", help="run directories, folders of them, globs (default: runs)")
    add("--protocol", default="strict", help="how times are counted (default: %(default)s)")
    add("--format", choices=("table", "csv", "json"), default="table", help="of the output (default: %(default)s)")
    add("--allow-files", action="store_true", help="let the SQL read and write files")
    add("--write", type=Path, metavar="DIR", help="also write the four tables to this folder")
    add("--files", choices=("csv", "parquet"), default="parquet", help="file format of --write (default: %(default)s)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
