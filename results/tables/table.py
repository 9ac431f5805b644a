"""A table: rows of text, shown on the console by rich or written as Markdown."""

import html
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass

from rich.console import Console

from results import marks
from results.format import printable
from results.record import Run, TrialRecord
from results.summary import Figure
from results.tables.console import ConsoleTable

SMOKE_TEST = " (smoke test: its numbers mean nothing)"


@dataclass(frozen=True)
class Table:
    """Headers and rows of plain text."""

    title: str
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""

    def rich(self) -> ConsoleTable:
        """For the console, in its width."""
        return ConsoleTable(self.title, self.headers, self.rows, self.caption)

    def html(self) -> str:
        """For a notebook or a page. Nothing in it is read as HTML."""
        head = "".join(f"<th>{_html(header)}</th>" for header in self.headers)
        rows = ("".join(f"<td>{_html(cell)}</td>" for cell in row) for row in self.rows)
        body = "".join(f"<tr>{cells}</tr>" for cells in rows)
        caption = f"<p>{_html(self.caption)}</p>" if self.caption else ""
        return f"<p><b>{_html(self.title)}</b></p><table><tr>{head}</tr>{body}</table>{caption}"

    def text(self, width: int = 160) -> str:
        """As plain lines of at most so many columns."""
        console = Console(width=width, file=io.StringIO(), emoji=False)
        console.print(self.rich())
        assert isinstance(console.file, io.StringIO)
        return console.file.getvalue()

    def markdown(self) -> str:
        """For GitHub. Nothing in it is read as Markdown or HTML."""
        head = [_markdown_row(self.headers), _markdown_row(["---"] * len(self.headers), escape=False)]
        rows = [_markdown_row(row) for row in self.rows]
        caption = ["", _escape(self.caption)] if self.caption else []
        return "\n".join([f"**{_escape(self.title)}**", "", *head, *rows, *caption, ""])


def name_of(run: Run) -> str:
    """The recipe's name, of how many runs and hosts it is if they were pooled, and the symbols of the marks that a
    trial has."""
    return (
        run.record.recipe_name + f" ({pooled_from(run)})" * bool(run.pooled) + marks.symbols(marks.counts(run.trials))
    )


def pooled_from(run: Run) -> str:
    """Of how many runs and hosts it is, such as "40 runs, 2 hosts"; empty for a run that was not pooled."""
    if not run.pooled:
        return ""
    placed = (host.hash.split("+") for trial in run.trials if (host := run.host_of(trial)))
    hosts = len({name for names in placed for name in names})
    return f"{len(run.pooled)} runs{f', {hosts} host' if hosts else ''}{'s' * (hosts > 1)}"


def seed_of(trial: TrialRecord) -> str:
    """The seed of a trial, with the symbols of its marks."""
    return str(trial.seed) + marks.symbols(marks.counts([trial]))


def legend_of(runs: Iterable[Run]) -> str:
    """The end of a caption: what the symbols of `name_of` mean; empty without a marked trial."""
    return marks.legend(marks.counts(trial for run in runs for trial in run.trials))


def legend_of_looks(runs: Iterable[Run]) -> str:
    """The end of a caption with intervals or p: at which level they are of runs that were trained until decided."""
    has_looks = any(run.record.plan for run in runs)
    return " Of runs that were trained until decided, intervals and p hold at all looks together." * has_looks


def legend_of_hosts(figures: Iterable[Figure], column: str = "") -> str:
    """Part of a caption's sentence on times: what the time of a run over several hosts is; empty without one."""
    is_pooled = any(figure.hosts and figure.value is not None for figure in figures)
    return f"; {column}over several hosts: geometric mean of the hosts' medians" * is_pooled


def _html(text: str) -> str:
    return html.escape(printable(text))


def _escape(text: str) -> str:
    return re.sub(r"([\\`*_{}\[\]<>|~#&])", r"\\\1", printable(text))


def _markdown_row(cells: Iterable[str], escape: bool = True) -> str:
    return "| " + " | ".join(_escape(cell) if escape else cell for cell in cells) + " |"
