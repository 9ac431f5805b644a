"""Write an HTML page of results: python bench/report.py runs -o report/

The page is one file, report/index.html, which opens from disk and needs no network. It has a leaderboard, accuracy over
time, laps, ladders, scaling, histories, and a page for each run. Runs that could be one are one row, as in
bench/show.py. Commits are linked to the page of the remote `origin`.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if __name__ == "__main__":  # this tree, whatever else is installed
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.command_line import cli, repository
from bench.command_line.options import Parser


@cli.command
def main(arguments: Sequence[str] | None = None) -> int:
    """0, or 2 with a line for a place without runs, or a package that is missing."""
    options = parse(arguments)
    from results import files, protocols, samples, store
    from results.literature import published
    from results.page import build, data, pictures

    protocol = protocols.parse(options.protocol)
    code = code_page(options.repository)
    discard = ["throttled"] if options.discard_throttled else []
    places = store.with_scalings(options.runs or ["runs"])
    found = samples.find_runs(places, cli.processors(), cli.warn, discard)
    runs = [run for run, _ in found]
    shown = data.page_data(runs, published().values(), {run.record.id: of for run, of in found}, code)
    options.out.mkdir(parents=True, exist_ok=True)
    page = options.out / "index.html"
    files.write_atomically(page, build.page(shown, options.title))
    written = [page, *pictures.write(shown, options.out, options.formats, protocol)]
    for warning in (warning for run in runs for warning in run.warnings):
        cli.warn(warning)
    for path in written:
        print(f"written: {path}")
    return 0


def code_page(given: str | None) -> str | None:
    """The web page of the code: as it was given, or of this checkout. ValueError for what is no address."""
    if given is None:
        return repository.web_page(Path(__file__).parent)
    if not (address := repository.web_address(given)):
        raise ValueError(f"--repository {given}: give an address such as https://github.com/OWNER/NAME")
    return address


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options. Exits with status 2 and one line for a command line that is wrong."""
    parser = Parser("bench/report.py", __doc__)
    add = parser.add_argument
    add("runs", nargs="*", metavar="RUNS", help="run directories, folders of them, globs (default: runs)")
    add("-o", "--out", type=Path, default=Path("report"), metavar="DIR", help="where to write (default: %(default)s)")
    add("--repository", metavar="URL", help="web page of the code, for links of commits (default: that of `origin`)")
    add("--title", default="Paceline", help="title of the page (default: %(default)s)")
    add(
        "--png",
        dest="formats",
        action="append_const",
        const="png",
        default=[],
        help="also write the charts as PNG (needs Chrome or Chromium)",
    )
    add("--svg", dest="formats", action="append_const", const="svg", help="also write the charts as SVG (likewise)")
    add("--discard-throttled", action="store_true", help="leave out the trials during which a GPU was throttled")
    add("--protocol", default="strict", help="how the pictures count time (default: %(default)s)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
