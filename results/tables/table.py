"""A table: rows of text, shown on the console by rich or written as Markdown."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

import rich.table
from rich import box
from rich.text import Text

from results.format import printable

WORD = 8
"""letters of a word that are kept together on a narrow console: so many that a summary still fits in 80 columns"""
SMOKE_TEST = " (smoke test: its numbers mean nothing)"


@dataclass(frozen=True)
class Table:
    """Headers and rows of plain text."""

    title: str
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""

    def with_note(self, note: str) -> "Table":
        """With a sentence more in the caption."""
        return replace(self, caption=f"{self.caption} {note}".strip())

    def rich(self) -> rich.table.Table:
        """For the console. Nothing in it is read as markup."""
        table = rich.table.Table(
            title=Text(printable(self.title)),
            caption=Text(printable(self.caption)),
            caption_justify="left",
            box=box.SIMPLE,
            collapse_padding=True,
            pad_edge=False,
        )
        for cells in zip(self.headers, *self.rows, strict=True):
            words = " ".join(cells).split()
            width = min(WORD, max(map(len, words), default=1))
            table.add_column(Text(printable(cells[0])), overflow="fold", min_width=width)
        for row in self.rows:
            table.add_row(*(Text(printable(cell)) for cell in row))
        return table

    def markdown(self) -> str:
        """For GitHub. Nothing in it is read as Markdown or HTML."""
        head = [_markdown_row(self.headers), _markdown_row(["---"] * len(self.headers), escape=False)]
        rows = [_markdown_row(row) for row in self.rows]
        caption = ["", _escape(self.caption)] if self.caption else []
        return "\n".join([f"**{_escape(self.title)}**", "", *head, *rows, *caption, ""])


def _escape(text: str) -> str:
    return re.sub(r"([\\`*_{}\[\]<>|~#&])", r"\\\1", printable(text))


def _markdown_row(cells: Iterable[str], escape: bool = True) -> str:
    return "| " + " | ".join(_escape(cell) if escape else cell for cell in cells) + " |"
