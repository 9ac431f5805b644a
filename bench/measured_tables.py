"""Write the README's tables anew from the runs that are committed under results/measured/.

python bench/measured_tables.py            rewrite README.md
python bench/measured_tables.py --check    only say whether it is up to date (exit status 1 if not)
"""

import sys
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

if __name__ == "__main__":  # this tree, whatever else is installed
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


from bench import cli
from bench.options import Parser
from results.protocols import DEFAULT
from results.record import Run
from results.store import find
from results.tables import Table
from results.tables.overview import overview
from results.tables.scaling import scaling_tables
from results.tables.techniques import BASELINES

REPOSITORY = Path(__file__).resolve().parents[1]
README = REPOSITORY / "README.md"
MEASURED = REPOSITORY / "results" / "measured"
SCALING = "scaling"
"""the folder under it of the runs of `bench/scale.py`, which are no runs of the recipes as they are"""
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
LONG = 12
"""Rows of a table that the page shows unasked; longer ones open at a click."""


def with_tables(text: str, measured: Path) -> str:
    """`text` with what stands between the markers replaced by the table of the runs in `measured`."""
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the text needs the markers {BEGIN} and {END}")
    sections = [(name_of(runs), overview(runs, DEFAULT)) for runs in by_folder(find([measured]))]
    if (measured / SCALING).exists():
        sections.append((SCALING, scaling_tables(find([measured / SCALING]), DEFAULT)))
    written = "\n".join("\n".join([f"### {name}\n", *map(folded, tables)]) for name, tables in sections)
    return f"{head}{begin}\n{written}{end}{tail}"


def folded(table: Table) -> str:
    """The table in Markdown, closed if it is a long one."""
    text = table.markdown()
    if len(table.rows) <= LONG:
        return text
    return f"<details><summary>{len(table.rows)} rows</summary>\n\n{text}\n</details>\n"


def by_folder(runs: Iterable[Run]) -> list[list[Run]]:
    """The runs by the folder of their recipe, smoke tests last; in a folder baselines first, the others by name."""

    def place(run: Run) -> tuple[tuple[bool, str], bool, str]:
        name = run.record.recipe_name
        return folder(run), name.rpartition("/")[2] not in BASELINES, name

    ordered = sorted(runs, key=place)
    return [list(group) for _, group in groupby(ordered, folder)]


def folder(run: Run) -> tuple[bool, str]:
    """Whether it is a smoke test, and the part of its recipe's name before the last slash."""
    return run.record.smoke_test, run.record.recipe_name.rpartition("/")[0]


def name_of(runs: list[Run]) -> str:
    """The heading over runs of one folder."""
    smoke_test, name = folder(runs[0])
    return f"{name}, smoke tests" if smoke_test else name


@cli.command
def main(arguments: Sequence[str] | None = None) -> int:
    parser = Parser("bench/measured_tables.py", __doc__)
    parser.add_argument("--check", action="store_true", help="change nothing")
    options = parser.parse_args(arguments)
    old = README.read_text(encoding="utf-8")
    new = with_tables(old, MEASURED)
    if options.check:
        print("README.md is up to date" if new == old else "README.md is out of date: run bench/measured_tables.py")
        return int(new != old)
    README.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
