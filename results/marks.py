"""Marks of trials whose times mean less than others: one entry of `MARKS` each, shown wherever a run is.

A mark hides nothing and changes no number.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from results.format import count
from results.record import Run, TrialRecord

BUSY = 0.1
TENFOLD = 10


@dataclass(frozen=True)
class Mark:
    """Something that a trial's times suffered from."""

    name: str
    """one word, shown beside the trial"""
    meaning: str
    applies: Callable[[TrialRecord], bool]


MARKS = {
    mark.name: mark
    for mark in (
        Mark(
            "busy",
            f"other processes kept at least {BUSY:.0%} of its CPUs busy",
            lambda trial: trial.foreign_load is not None and trial.foreign_load >= BUSY,
        ),
    )
}


def marks_of(trial: TrialRecord) -> tuple[str, ...]:
    """The names of its marks."""
    return tuple(name for name, mark in MARKS.items() if mark.applies(trial))


def counted(trials: Iterable[TrialRecord]) -> dict[str, int]:
    """How many trials have each mark; those that none has are left out."""
    found: dict[str, int] = {}
    for trial in trials:
        for name in marks_of(trial):
            found[name] = found.get(name, 0) + 1
    return found


def text(counts: Mapping[str, int], trials: int) -> str:
    """Such as "2 of 3 busy"; empty without a mark."""
    return ", ".join(f"{count(number, trials)} {name}" for name, number in counts.items())


def caption(runs: Iterable[Run]) -> str:
    """What the marks of these runs are and mean, to stand under a table of them; empty without a mark."""
    found = [(run, counts) for run in runs if (counts := counted(run.trials))]
    names = [name for name in MARKS if any(name in counts for _, counts in found)]
    which = "; ".join(f"{run.record.recipe_name} {text(counts, len(run.trials))}" for run, counts in found)
    meanings = "; ".join(f"{name}: {MARKS[name].meaning}" for name in names)
    return f"Marked trials: {which}. {meanings[0].upper()}{meanings[1:]}." if found else ""


def spread_warning(run: Run) -> str:
    """Of a run whose trials trained for times that differ tenfold; empty for any other."""
    seconds = [time for trial in run.trials if (time := trial.seconds("train"))]
    if not seconds or max(seconds) < TENFOLD * min(seconds):
        return ""
    return (
        f"{run.record.recipe_name}: its trials trained for {min(seconds):.3g} to {max(seconds):.3g} s: the machine was "
        "not the same for all of them"
    )
