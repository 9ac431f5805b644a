"""How numbers are written in every table, page and export."""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # commands print errors without numpy
    from results.statistics import MedianSummary

NOTHING = "–"
FORMULA = "=+@-"
"""what a formula begins with (OWASP, "CSV Injection"); one of these characters alone is none"""
DIGITS = 4
"""significant digits of a measurement"""

Interval = tuple[float, float]


def number(value: float | None, digits: int = DIGITS) -> str:
    """Significant digits, with commas between thousands and without an exponent."""
    if value is None:
        return NOTHING
    rounded = float(f"{value:.{digits}g}")
    if not rounded:
        return "0"
    decimals = digits - 1 - math.floor(math.log10(abs(rounded)))
    return f"{rounded:,.{max(decimals, 0)}f}"


def seconds(value: float | None) -> str:
    """Seconds, without the unit."""
    return number(value)


def milliseconds(value: float | None) -> str:
    """`value` in seconds, as milliseconds without the unit."""
    return number(None if value is None else 1000 * value)


def published(value: float | None) -> str:
    """A number with the digits that its source gives."""
    return NOTHING if value is None else f"{value:.6g}"


def percent(fraction: float | None, decimals: int = 2) -> str:
    """A fraction in percent, without the sign: an accuracy."""
    return NOTHING if fraction is None else f"{100 * fraction:.{decimals}f}"


def share(fraction: float | None) -> str:
    """A fraction in whole percent, with the sign."""
    return NOTHING if fraction is None else f"{100 * fraction:.0f}%"


def target(fraction: float | None) -> str:
    """A target accuracy, such as 94%."""
    return NOTHING if fraction is None else f"{100 * fraction:.6g}%"


def change(ratio: float | None) -> str:
    """A ratio as the change in percent that it is: 1.05 is +5.0%."""
    return NOTHING if ratio is None else f"{100 * (ratio - 1):+.1f}%"


def points(difference: float | None) -> str:
    """A difference of two fractions in percentage points."""
    return NOTHING if difference is None else f"{100 * difference:+.2f}"


def p_value(p: float | None) -> str:
    return NOTHING if p is None else f"{p:.2g}"


def accuracy(mean: float | None, interval: Interval | None) -> str:
    """Mean ± half of its interval, in percent."""
    half = "" if interval is None else f" ± {percent((interval[1] - interval[0]) / 2)}"
    return percent(mean) + half


def count(some: int, every: int) -> str:
    """k of n."""
    return f"{some} of {every}"


def listed(names: Sequence[str], most: int = 3) -> str:
    """The first names, and how many others there are."""
    others = len(names) - most
    return ", ".join(names) if others < 1 else f"{', '.join(names[:most])} and {others} more"


def median(summary: "MedianSummary | None", write: Callable[[float], str] = seconds) -> str:
    """Median [95% interval]; of fewer than six samples, which have no such interval, median (their range)."""
    return NOTHING if summary is None else write(summary.median) + spread(summary, write)


def spread(summary: "MedianSummary", write: Callable[[float], str] = seconds) -> str:
    """What `median` writes behind the median."""
    if summary.interval is not None:
        return f" [{write(summary.interval[0])}, {write(summary.interval[1])}]"
    return f" ({write(summary.min)} to {write(summary.max)})" if summary.n > 1 else ""


def duration(seconds: float) -> str:
    """A time to wait, such as 40 s, 12 min, 6.2 h or 3 days."""
    for size, unit in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 1.5 * size:
            return f"{float(f'{seconds / size:.2g}'):,g} {unit}"  # without an exponent: 120 days
    return f"{seconds:.2g} s"


def cell(value: object) -> object:
    """A value for a CSV file: a text that a spreadsheet would take for a formula begins with an apostrophe."""
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if len(text) > 1 and text[0] in FORMULA else text


def printable(text: str) -> str:
    """`text` without what would move the cursor or colour the console."""
    return "".join(character if character.isprintable() else " " for character in text)
