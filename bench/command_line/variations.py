"""`--vary KEY=A|B`: a run of each recipe for each value of an option, each with a name of its own."""

import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import product

VARIED = re.compile(r"\+[A-Za-z_][\w.]*=")
"""where the values begin in the name of a varied recipe, such as `mnist/base+epochs=8`"""


@dataclass(frozen=True)
class Variation:
    """One value of each option that varies; of none where nothing varies."""

    overrides: tuple[str, ...] = ()
    suffix: str = ""
    """what it adds to the name of a recipe"""

    def __add__(self, other: "Variation") -> "Variation":
        return Variation(self.overrides + other.overrides, self.suffix + other.suffix)


def parse(texts: Sequence[str], fixed: Collection[str] = ()) -> list[Variation]:
    """Every combination of the values in texts such as `epochs=8|9|10`; the last option varies fastest.

    fixed: options that have one value. ValueError for a text that has no values to choose from, one that gives a value
    twice, and an option that is given twice.
    """
    given = list(fixed)
    lines: list[list[Variation]] = []
    for text in texts:
        key, equals, values = text.partition("=")
        if not equals:
            raise ValueError(f"--vary {text}: is written key=a|b, such as epochs=8|9|10")
        if key in given:
            raise ValueError(f"--vary {text}: {key} is given twice: leave one out")
        given.append(key)
        lines.append(_line(key, values))
    return [sum(parts, Variation()) for parts in product(*lines)]


def base_of(name: str) -> str | None:
    """The recipe whose options were varied, by the name of a run; None for any other run."""
    found = VARIED.search(name)
    return name[: found.start()] if found else None


def _line(key: str, text: str) -> list[Variation]:
    from bench.searching import search_space  # which imports numpy

    choices = search_space.parse(key, text)
    if not isinstance(choices, search_space.Choices):
        what = "has one value" if choices is None else "is a range, of which a run needs a value"
        raise ValueError(f"--vary {key}={text}: {what}: write two values or more as {key}=a|b")
    names = [_name(value) for value in choices.options]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"--vary {key}={text}: two of the values are called {twice[0]!r}: leave one out")
    overrides = [search_space.overrides({key: value}) for value in choices.options]
    return [Variation(tuple(one), f"+{key}={name}") for one, name in zip(overrides, names, strict=True)]


def _name(value: object) -> str:
    """A value in a name: as it is typed, without what separates folders, recipes and commits, and globs."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return re.sub(r"[^\w.,:+-]", "_", re.sub(r"[\[\]{}\"' ]", "", text))
