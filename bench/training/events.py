"""What a launched run reports to the process that launched it: JSON, one event a line, on standard output.

`launch.py` starts the run with the variable REPORTS set. Whatever else the run prints goes to standard error.
"""

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import IO, get_args

from results.format import duration

REPORTS = "PACELINE_EVENTS"
"""variable that is set in a run that reports events"""
INTERLEAVED = "PACELINE_INTERLEAVED"
"""variable with the id that interleaved runs share: the run waits for a line on standard input before each trial"""


@dataclass(frozen=True)
class TrialFinished:
    """A trial is over and its record is on the disk."""

    recipe: str
    number: int
    """of the trial in this launch, from 1"""
    trials: int
    """of this launch"""
    seed: int
    outcome: str
    accuracy: float | None
    """as a fraction"""
    seconds: float
    """since the run began, the warm-up included"""
    to_go: float | None = None
    """seconds until the run ends, as far as they are known"""

    def __str__(self) -> str:
        accuracy = "" if self.accuracy is None else f", {self.accuracy:.2%}"
        trial = f"trial {self.number}/{self.trials}, seed {self.seed}"
        return f"{self.recipe}: {trial}: {self.outcome}{accuracy}, {self.seconds:.1f} s so far{to_go_text(self.to_go)}"


def to_go_text(seconds: float | None) -> str:
    """`, about 40 s to go`; nothing where it is unknown, or at the end."""
    return f", about {duration(round(seconds))} to go" if seconds else ""


@dataclass(frozen=True)
class RunRecorded:
    """A run has ended and its directory is complete."""

    recipe: str
    path: str
    status: str

    def __str__(self) -> str:
        return f"record: {self.path}"


@dataclass(frozen=True)
class Message:
    """A line for the person who waits."""

    recipe: str
    text: str

    def __str__(self) -> str:
        return f"{self.recipe}: {self.text}"


@dataclass(frozen=True)
class Waiting:
    """The run waits until it may train its next trial."""


Event = TrialFinished | RunRecorded | Message | Waiting
KINDS: dict[str, type] = {kind.__name__: kind for kind in get_args(Event)}
BEGIN = '{"event": '
"""how each event begins"""


def encode(event: Event) -> str:
    """An event as a line."""
    return json.dumps({"event": type(event).__name__, **asdict(event)})


def decode(line: str) -> tuple[str, Event | None]:
    """What stands in a line before its event, and the event. All of the line and None where it has none.

    Another process, or the user's own code before the first event, may have begun the line and not ended it.
    """
    before, begin, rest = line.rpartition(BEGIN)
    try:
        fields = json.loads(begin + rest)
        return before, KINDS[fields.pop("event")](**fields)
    except (ValueError, KeyError, TypeError, AttributeError):
        return line, None


def are_wanted(variables: Mapping[str, str]) -> bool:
    """Whether this process reports to one that launched it."""
    return REPORTS in variables


def send(event: Event) -> None:
    """Report an event."""
    print(encode(event), file=take_standard_output(), flush=True)


@cache
def take_standard_output() -> IO[str]:
    """Keep standard output for events: what anything else in this process prints there goes to standard error."""
    sys.stdout.flush()
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return channel


def wait_for_permission() -> None:
    """Report that the next trial may begin, and wait for a line. ValueError where standard input has ended."""
    send(Waiting())
    if not sys.stdin.readline():
        raise ValueError("the process that alternates this run with another one has ended")
