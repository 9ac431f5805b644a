"""A table on the console, in whatever width there is. No number is cut or broken.

As columns where they fit. Else columns that are equal in every row become a line above the table, or nothing where
they are empty. Where that is still too wide, long words are broken. Where that is too wide too, each row becomes a
block with a line for each column. A long reason in the last column, such as "undecided: 47 more trials ...", goes below
the table.
"""

import re
from collections.abc import Iterator, Sequence
from textwrap import wrap

import rich.table
from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from results.format import NOTHING, printable

WORD = 8
"""letters that stay together where long words are broken: so many that a summary still fits in 80 columns"""
NUMBER = re.compile(r"[\[(]?[+\-−±]?[\d,]+(\.\d+)?%?[\]),;]*")
REASON = re.compile(r"(?P<verdict>[^:]{1,20}): (?P<reason>.+)")
"""a cell of the last column"""
LINES = 3
"""of a cell in the last column, at most, before its reason goes below the table"""
EMPTY = ("", NOTHING)
GAP = 2
"""columns between two columns of a table"""


class ConsoleTable:
    """What rich prints of a title, headers, rows and a caption. Nothing in them is read as markup."""

    def __init__(self, title: str, headers: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> None:
        self._title, self._caption = printable(title), printable(caption)
        self._headers = [printable(header) for header in headers]
        self._rows = [[printable(cell) for cell in row] for row in rows]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        columns = list(range(len(self._headers)))
        alike = [column for column in columns if len({row[column] for row in self._rows}) == 1]
        layouts = [(columns, [])]
        if len(self._rows) > 1 and len(alike) < len(columns):
            layouts.append(([column for column in columns if column not in alike], alike))
        for letters in (None, WORD):
            for shown, left_out in layouts:
                if self._least_width(shown, letters) <= options.max_width:
                    yield self._as_columns(shown, left_out, options.max_width)
                    return
        yield from self._as_blocks()

    def _column_width(self, column: int, letters: int | None = WORD) -> int:
        """The least width of a column: of its longest number, and of so many letters of its longest word, or all."""
        words = " ".join([self._headers[column], *(row[column] for row in self._rows)]).split()
        return max((len(word) if NUMBER.fullmatch(word) else len(word[:letters]) for word in words), default=1)

    def _least_width(self, columns: Sequence[int], letters: int | None = WORD) -> int:
        return sum(self._column_width(column, letters) + GAP for column in columns) + GAP

    def _widths(self, columns: Sequence[int], width: int) -> dict[int, int]:
        """The width of each column: what is over when each has its least goes to the narrowest that lacks some."""
        widths = {column: self._column_width(column) for column in columns}
        whole = {column: max(len(row[column]) for row in [self._headers, *self._rows]) for column in columns}
        for _ in range(width - self._least_width(columns)):
            lacking = [column for column in columns if widths[column] < whole[column]]
            if not lacking:
                break
            widths[min(lacking, key=lambda column: widths[column])] += 1
        return widths

    def _as_columns(self, columns: Sequence[int], alike: Sequence[int], width: int) -> rich.table.Table:
        named = [column for column in alike if self._headers[column] and self._rows[0][column] not in EMPTY]
        common = [f"{self._headers[column]}: {self._rows[0][column]}" for column in named]
        widths = self._widths(columns, width)
        rows, reasons = self._rows, []
        if any(len(wrap(row[-1], widths.get(len(row) - 1, width))) > LINES for row in rows):
            rows, reasons = without_reasons(rows)
            widths = ConsoleTable("", self._headers, rows, "")._widths(columns, width)
        table = rich.table.Table(
            title=Text("\n".join([self._title, *common])),
            caption=Text("\n".join([*reasons, self._caption])),
            caption_justify="left",
            box=box.SIMPLE,
            collapse_padding=True,
            pad_edge=False,
        )
        for column, column_width in widths.items():
            table.add_column(Text(self._headers[column]), overflow="fold", width=column_width)
        for row in rows:
            table.add_row(*(Text(row[column]) for column in columns))
        return table

    def _as_blocks(self) -> Iterator[Text]:
        yield Text(self._title, style="italic")
        for row in self._rows:
            named = (f"{header}: {cell}" if header else cell for header, cell in zip(self._headers, row, strict=True))
            yield Text("\n  ".join(line for line, cell in zip(named, row, strict=True) if cell not in EMPTY))
        yield Text(self._caption, style="dim italic")


def without_reasons(rows: Sequence[Sequence[str]]) -> tuple[list[list[str]], list[str]]:
    """The rows with a number in place of the reason in their last column; the reasons, with their numbers."""
    numbers: dict[str, int] = {}
    short = []
    for row in rows:
        *cells, last = row
        if found := REASON.fullmatch(last):
            number = numbers.setdefault(found["reason"], len(numbers) + 1)
            last = f"{found['verdict']} ({number})"
        short.append([*cells, last])
    return short, [f"({number}) {reason}" for reason, number in numbers.items()]
