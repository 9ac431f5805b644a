"""What else changed between two sides: commit, versions, driver, environment variables.

None of it keeps them from being compared, but a reader who looks for the cause of a change wants to know.
"""

from collections.abc import Collection, Sequence

from results.samples import Samples

UNSET = "unset"
MOST = 2
"""values of a side that are written out; of more, the first and the last"""


def also_changed(before: Sequence[Samples], after: Sequence[Samples]) -> str:
    """In one line; empty where nothing changed. What a side does not know, such as a version that records did not keep
    at that time, is left out."""
    sides = (before, after)
    found = [(key, [_noted(side, key) for side in sides]) for key in _keys(sides, "notes")]
    found += [(name, [_set(side, name) for side in sides]) for name in _keys(sides, "variables")]
    changed = [f"{key} {_text(old)} → {_text(new)}" for key, (old, new) in found if old and new and {*old} != {*new}]
    return f"also changed: {', '.join(changed)}" if changed else ""


def _keys(sides: Sequence[Sequence[Samples]], kind: str) -> list[str]:
    return list(dict.fromkeys(key for side in sides for one in side for key in getattr(one, kind) or ()))


def _noted(side: Sequence[Samples], key: str) -> Collection[str]:
    """The different values of a note, in the order of the runs."""
    return dict.fromkeys(one.notes[key] for one in side if key in one.notes)


def _set(side: Sequence[Samples], name: str) -> Collection[str]:
    """The different values of an environment variable; none of runs that did not keep their variables."""
    return dict.fromkeys(one.variables.get(name, UNSET) for one in side if one.variables is not None)


def _text(values: Collection[str]) -> str:
    first, *_, last = [*values, *values]
    return " and ".join(values) if len(values) <= MOST else f"{first} … {last} ({len(values)} values)"
