"""What a command says of its training, line by line: JSON objects, or whatever a regular expression finds."""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pipelines.clock import Lap
from pipelines.scripts.run import ScriptError, fraction, without_nan
from pipelines.trial import EpochResult

KEYS = ("epoch", "accuracy", "accuracy_percent", "loss", "train_accuracy", "seconds")
"""what is read of a line; anything else in it is ignored"""
JSON = "json"

Values = Mapping[str, Any]


def reader(metrics: str) -> Callable[[str], Values]:
    """What finds the values in a line: `json`, or a regular expression with groups called as KEYS. ValueError else."""
    if metrics == f"{JSON}:":
        raise ValueError(f"{metrics!r}: names no file; write json:FILE")
    if metrics == JSON or metrics.startswith(f"{JSON}:"):
        return from_json
    try:
        pattern = re.compile(metrics)
    except re.error as error:
        raise ValueError(f"{metrics!r}: is not json, json:FILE or a regular expression: {error}") from None
    if not {"accuracy", "accuracy_percent"} & pattern.groupindex.keys():
        raise ValueError(f"{metrics!r}: has no group (?P<accuracy>…) or (?P<accuracy_percent>…)")
    if unknown := pattern.groupindex.keys() - set(KEYS):
        raise ValueError(f"{metrics!r}: the group {min(unknown)} is none of {', '.join(KEYS)}")
    return lambda line: {} if (found := pattern.search(line)) is None else found.groupdict()


def from_json(line: str) -> Values:
    """The known keys of a JSON object; nothing of any other line."""
    if not line.lstrip().startswith("{"):
        return {}
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return {key: values[key] for key in KEYS if key in values}


@dataclass
class Reported:
    """What a command has said so far."""

    epochs: dict[int, dict[str, float]] = field(default_factory=dict)
    """by the number that it gave, rising"""
    results: list[EpochResult] = field(default_factory=list)
    """one entry an epoch, counted from 1"""
    accuracy: float | None = None
    """the last one, with or without an epoch"""

    def add(self, values: Values) -> None:
        """Take in the values of a line. ScriptError as `numbers`, and for epochs that go back or come twice."""
        found = numbers(values)
        self.accuracy = found.get("accuracy", self.accuracy)
        if "epoch" not in found:
            return
        epoch, last = int(found.pop("epoch")), next(reversed(self.epochs), -1)
        if epoch < max(last, 0):
            raise ScriptError(f"epoch {epoch} is reported after epoch {last}")
        known = self.epochs.setdefault(epoch, {})
        if twice := known.keys() & found.keys():
            raise ScriptError(f"{min(twice)} of epoch {epoch} is reported twice")
        known |= found
        loss, accuracy, train_accuracy = map(known.get, ("loss", "accuracy", "train_accuracy"))
        result = EpochResult(epoch + self._shift, loss, accuracy, train_accuracy=train_accuracy)
        self.results[len(self.epochs) - 1 :] = [without_nan(result)]

    @property
    def laps(self) -> list[Lap]:
        """Of each epoch with `seconds`, what it adds to the epoch before. ScriptError where they fall."""
        found, before = [], 0.0
        for epoch, said in self.epochs.items():
            if "seconds" in said:
                if said["seconds"] < before:
                    raise ScriptError(f"seconds of epoch {epoch} are {said['seconds']:g}, after {before:g}: they rise")
                found.append(Lap("train", said["seconds"] - before, epoch + self._shift))
                before = said["seconds"]
        return found

    @property
    def _shift(self) -> int:
        """What makes its epochs count from 1."""
        return int(0 in self.epochs)


def numbers(values: Values) -> dict[str, float]:
    """The values of a line, accuracies as fractions. ScriptError for what is no number or no fraction, for epochs that
    are not whole, and for seconds that are not finite."""
    found = {key: _number(key, value) for key, value in values.items() if value is not None}
    if (percent := found.pop("accuracy_percent", None)) is not None:
        found["accuracy"] = percent / 100
    for key in ("accuracy", "train_accuracy"):
        fraction(found.get(key), key)
    return found


def _number(key: str, value: Any) -> float:
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        raise ScriptError(f"{key}={value!r} is not a number") from None
    if key == "epoch" and not found.is_integer():
        raise ScriptError(f"epoch={value!r} is not a whole number")
    if key == "seconds" and not math.isfinite(found):
        raise ScriptError(f"seconds={value!r} is not a finite number")
    return found
