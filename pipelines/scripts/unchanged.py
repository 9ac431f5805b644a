"""For files that nobody wants to edit: laps around functions of theirs, and accuracies from what they print."""

import contextlib
import functools
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TextIO

from pipelines.scripts import metrics
from pipelines.scripts.run import LAPS, Run, ScriptError

LAPS_OF_EPOCHS = ("augment", "train", "evaluate")
"""laps that have the number of their epoch"""


@contextlib.contextmanager
def timed(run: Run, module: object, **laps: str) -> Iterator[None]:
    """Time each call of functions of a module until the block ends: `timed(run, peer, train="train", test="evaluate")`.

    laps: by the name of a function, the lap that a call of it is. The n-th call of a function is epoch n. ScriptError
    for a function that the module does not have, and for a lap that no protocol knows.
    """
    for name, lap in laps.items():
        if not callable(getattr(module, name, None)):
            raise ScriptError(f"trial.timed: {getattr(module, '__name__', module)} has no function {name!r}")
        if lap not in LAPS:
            raise ScriptError(f"trial.timed({name}={lap!r}): the laps are {', '.join(LAPS)}")
    before = {name: getattr(module, name) for name in laps}
    for name, lap in laps.items():
        setattr(module, name, _timed(run, before[name], lap))
    try:
        yield
    finally:
        for name, function in before.items():
            setattr(module, name, function)


def _timed(run: Run, function: Callable[..., Any], lap: str) -> Callable[..., Any]:
    calls = 0

    @functools.wraps(function)
    def called(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        with run.lap(lap, calls if lap in LAPS_OF_EPOCHS else None):
            return function(*arguments, **options)

    return called


@contextlib.contextmanager
def printed(run: Run, pattern: str) -> Iterator[None]:
    """Report what is printed on standard output until the block ends, as `run.evaluated` does.

    pattern: a regular expression that is searched in each line, with the group `accuracy` or `accuracy_percent`, and
    perhaps `epoch`, `loss` and `train_accuracy`. Without `epoch`, each line that matches is the next epoch. Epochs may
    be counted from 0. ScriptError for another pattern, and where no line of rank 0 matches.
    """
    try:
        read, first = metrics.reader(pattern), None
    except ValueError as error:
        raise ScriptError(f"trial.printed: {error}") from None

    def take(line: str) -> None:
        nonlocal first
        if values := metrics.numbers(read(line)):
            if "seconds" in values:
                raise ScriptError("trial.printed: Paceline's clock runs: leave the group seconds out")
            epoch = int(values.pop("epoch", len(run.history) + 1))
            first = epoch if first is None else first
            run.evaluated(epoch + (first == 0), **values)

    lines = _Lines(sys.stdout, take)
    with contextlib.redirect_stdout(lines):  # type: ignore[type-var]
        yield
    lines.end()
    if first is None and run.is_main:
        raise ScriptError(f"trial.printed: no line that was printed matches {pattern!r}")


class _Lines:
    """A stream that hands on what is written, and each line to a function. A carriage return ends a line too: progress
    bars are redrawn with it."""

    def __init__(self, stream: TextIO, take: Callable[[str], None]) -> None:
        self._stream, self._take, self._begun = stream, take, ""

    def write(self, text: str) -> int:
        self._stream.write(text)
        *lines, self._begun = (self._begun + text).replace("\r", "\n").split("\n")
        for line in lines:
            self._take(line)
        return len(text)

    def writelines(self, texts: Iterable[str]) -> None:
        for text in texts:
            self.write(text)

    def end(self) -> None:
        """The last line needs no end."""
        if self._begun:
            self._take(self._begun)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
