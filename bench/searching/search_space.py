"""What a search may try: ranges and choices, as they are written on the command line. Imports neither torch nor Optuna.

optimizer.lr=log:1e-4..1e-1     a logarithmic range
optimizer.momentum=0.5..0.99    a range
batch_size=log:16..256          two whole numbers: only whole numbers between them
schedule.name=cosine|constant   choices
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np

from pipelines.recipe import yaml_reader

Value = float | int | str | bool | None
REFINED_SHARE = 0.25
"""of a range (of its logarithm) that the second stage searches, around the best value of the first"""


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included."""

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def points(self, count: int) -> list[Value]:
        """So many values, evenly spaced: a line of the grid."""
        space = np.geomspace if self.log else np.linspace
        values = [min(max(value, self.low), self.high) for value in space(self.low, self.high, count).tolist()]
        return sorted({round(value) for value in values}) if self.whole else values

    def around(self, best: Value) -> "Range":
        """A share of the range with `best` as near to its middle as the ends allow."""
        assert isinstance(best, int | float)
        low, high, middle = (math.log(x) if self.log else x for x in (self.low, self.high, best))
        half = REFINED_SHARE * (high - low) / 2
        middle = min(max(middle, low + half), high - half)
        ends = [math.exp(x) if self.log else x for x in (middle - half, middle + half)]
        if self.whole:
            ends = [math.floor(ends[0]), math.ceil(ends[1])]
        return Range(max(ends[0], self.low), min(ends[1], self.high), self.log, self.whole)


@dataclass(frozen=True)
class Choices:
    """One of a few values."""

    options: tuple[Value, ...]

    def points(self, count: int) -> list[Value]:
        """All of them, however many were asked for."""
        return list(self.options)

    def around(self, best: Value) -> "Choices":
        """Only the best."""
        return Choices((best,))


Space = dict[str, Range | Choices]


def parse(key: str, text: str) -> Range | Choices | None:
    """What `text` says may be tried for an option; None for a plain value. ValueError for a range that is none."""
    scale, colon, ends = text.rpartition(":")
    if ".." in ends and "/" not in ends and scale in ("", "log"):
        low, high = (_scalar(key, part) for part in ends.split("..", 1))
        if not all(isinstance(end, int | float) and not isinstance(end, bool) for end in (low, high)) or low >= high:
            raise ValueError(f"{key}={text}: a range goes from a number to a larger one, such as log:1e-4..1e-1")
        if colon and low <= 0:
            raise ValueError(f"{key}={text}: a logarithmic range must begin above 0")
        return Range(low, high, bool(colon), isinstance(low, int) and isinstance(high, int))
    if "|" in text:
        return Choices(tuple(_scalar(key, part) for part in text.split("|")))
    return None


def split(words: Mapping[str, str]) -> tuple[Space, list[str]]:
    """Options to search, and the overrides `key=value` of those that have one value."""
    found = {key: parse(key, text) for key, text in words.items()}
    space = {key: part for key, part in found.items() if part is not None}
    if not space:
        raise ValueError("nothing to search: give a range, such as optimizer.lr=log:1e-4..1e-1")
    return space, [f"{key}={words[key]}" for key in words if key not in space]


def grid(space: Space, points: int) -> dict[str, list[Value]]:
    """The values of every option."""
    return {key: part.points(points) for key, part in space.items()}


def refined(space: Space, best: Mapping[str, Value]) -> Space:
    """A smaller space around the best values."""
    return {key: part.around(best[key]) for key, part in space.items()}


def overrides(values: Mapping[str, Value]) -> list[str]:
    """Values as overrides of a recipe."""
    return [f"{key}={json.dumps(value)}" for key, value in values.items()]


def to_json(space: Space) -> dict[str, dict[str, object]]:
    """A space in what JSON has, to be kept in a study."""
    return json.loads(json.dumps({key: asdict(part) for key, part in space.items()}))


def from_json(kept: Mapping[str, Mapping]) -> Space:
    """What `to_json` wrote."""
    return {key: Choices(tuple(part["options"])) if "options" in part else Range(**part) for key, part in kept.items()}


def nested(values: Mapping[str, Value]) -> dict[str, object]:
    """Dotted keys as a tree, as recipe files have them."""
    tree: dict = {}
    for key, value in values.items():
        *groups, last = key.split(".")
        branch = tree
        for group in groups:
            branch = branch.setdefault(group, {})
        branch[last] = value
    return tree


def _scalar(key: str, text: str) -> Value:
    try:
        return yaml_reader.read(text)
    except yaml_reader.YamlError as error:
        raise ValueError(f"{key}: {text!r} is not a YAML value: {error}") from None
