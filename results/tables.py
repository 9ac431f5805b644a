"""Tables: built once as rows of text, shown on the console by rich or written as Markdown."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

import rich.table
from rich import box
from rich.text import Text

from results.protocols import crossing, crossing_seconds, find_protocol, schedule_seconds
from results.record import Run, TrialRecord
from results.statistics import accuracy_summary, time_summary

Timing = Callable[[TrialRecord, str], float | None]

NOTHING = "–"
WORD = 8
"""Letters of a word that are not torn apart on a narrow console: so many that a summary still fits in 80 columns."""
SAMPLE = " (sample: a shortened or made-up training, its numbers mean nothing)"


@dataclass(frozen=True)
class Table:
    """Headers and rows of plain text."""

    title: str
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""

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
            table.add_column(Text(printable(cells[0])), overflow="fold", min_width=min(WORD, max(map(len, words))))
        for row in self.rows:
            table.add_row(*(Text(printable(cell)) for cell in row))
        return table

    def markdown(self) -> str:
        """For GitHub. Nothing in it is read as Markdown or HTML."""
        head = [_markdown_row(self.headers), _markdown_row(["---"] * len(self.headers), escape=False)]
        rows = [_markdown_row(row) for row in self.rows]
        caption = ["", _escape(self.caption)] if self.caption else []
        return "\n".join([f"**{_escape(self.title)}**", "", *head, *rows, *caption, ""])


def trials_table(run: Run, protocol: str) -> Table:
    """One row a trial. Times in seconds under the protocol; ValueError for an unknown one."""
    headers = ("seed", "accuracy %", "outcome", "epochs to target", "time to target s", "schedule s")
    rows = tuple(_trial_row(trial, protocol) for trial in run.trials)
    title = f"{run.record.recipe_name}, run {run.record.id}, {run.machine}"
    return Table(title + SAMPLE * run.record.sample, headers, rows)


def summary_tables(runs: Iterable[Run], protocol: str) -> list[Table]:
    """One row a run: a table of the measurements and, if there are any, a table of the sample runs, which mean nothing.

    Times are of the trials that reached the target and of no others. ValueError for an unknown protocol.
    """
    headers = (
        "recipe",
        "trials",
        "accuracy %",
        "reached target",
        "p",
        "time to target s",
        "schedule s",
        "machine",
    )
    caption = (
        "Accuracy: mean ± half of its 95% interval. p: of a mean this high if the true mean were at the target. "
        "Times: median [95% interval] over the trials that reached the target; to the first epoch at or over it, and "
        f"of the whole schedule, if the mean accuracy is at or over it. {_clock(protocol)}"
    )
    tables = []
    by_kind = {False: [], True: []}
    for run in runs:
        by_kind[run.record.sample].append(_summary_row(run, protocol))
    for sample, rows in by_kind.items():
        if rows:
            tables.append(Table(f"{protocol} time" + SAMPLE * sample, headers, tuple(rows), caption))
    return tables


def _trial_row(trial: TrialRecord, protocol: str) -> tuple[str, ...]:
    last = crossing(trial)
    return (
        str(trial.seed),
        _percent(trial.accuracy),
        trial.outcome if trial.reason is None else f"{trial.outcome}: {trial.reason}",
        NOTHING if last is None else str(last),
        _seconds(crossing_seconds(trial, protocol)),
        _seconds(schedule_seconds(trial, protocol)),
    )


def _summary_row(run: Run, protocol: str) -> tuple[str, ...]:
    all_measured = len(run.accuracies) == len(run.trials) > 0
    mean_reached = all_measured and fmean(run.accuracies) >= run.target
    return (
        run.record.recipe_name,
        f"{len(run.trials)} of {len(run.record.seeds)}" if run.missing_seeds else str(len(run.trials)),
        *_accuracy(run),
        _times(run, run.reached, crossing_seconds, protocol),
        _times(run, run.reached if mean_reached else [], schedule_seconds, protocol),
        run.machine,
    )


def _accuracy(run: Run) -> tuple[str, str, str]:
    """Accuracy, k of n reached, p. A trial without an accuracy is never left out silently, and leaves no p."""
    if not run.trials:
        return NOTHING, NOTHING, NOTHING
    reached = f"{len(run.reached)} of {len(run.trials)} ({_percent(run.target)}%)"
    if not run.accuracies:
        return NOTHING, reached, NOTHING
    summary = accuracy_summary(run.accuracies, run.target)
    text = f"{100 * summary.mean:.2f}"
    if summary.interval is not None:
        text += f" ± {50 * (summary.interval[1] - summary.interval[0]):.2f}"
    if summary.n < len(run.trials):
        return f"{text} (of {summary.n} alone)", reached, NOTHING
    return text, reached, NOTHING if summary.p is None else f"{summary.p:.2g}"


def _times(run: Run, trials: Sequence[TrialRecord], time: Timing, protocol: str) -> str:
    """Median and interval over `trials`, with their number where some have no such time; no trials: missed."""
    seconds = [time(trial, protocol) for trial in trials]
    known = [second for second in seconds if second is not None]
    if not known:
        return "missed" if run.trials and not trials else NOTHING
    summary = time_summary(known)
    text = _seconds(summary.median)
    if summary.interval is not None:
        text += f" [{_seconds(summary.interval[0])}, {_seconds(summary.interval[1])}]"
    return text if len(known) == len(seconds) else f"{text} (of {len(known)} alone)"


def _clock(protocol: str) -> str:
    return f"{protocol} time: {find_protocol(protocol).meaning}"


def _percent(fraction: float | None) -> str:
    return NOTHING if fraction is None else f"{100 * fraction:.2f}"


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return NOTHING
    return f"{seconds:.3f}" if seconds < 100 else f"{seconds:.1f}"


def printable(text: str) -> str:
    """`text` without what would move the cursor or colour the console."""
    return "".join(character if character.isprintable() else " " for character in text)


def _escape(text: str) -> str:
    return re.sub(r"([\\`*_{}\[\]<>|~#&])", r"\\\1", printable(text))


def _markdown_row(cells: Iterable[str], escape: bool = True) -> str:
    return "| " + " | ".join(_escape(cell) if escape else cell for cell in cells) + " |"
