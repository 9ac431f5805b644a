"""What all commands do alike: their exit status, one line for an error, JSON for machines, a console."""

import codecs
import contextlib
import functools
import io
import json
import os
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from bench.command_line.invocation import as_typed
from results.format import printable

if TYPE_CHECKING:  # --help need not wait for it
    from rich.console import Console

OK = 0
WORSE = 1
NO_VERDICT = 2
"""also wrong usage, and whatever else the caller can mend"""
INTERNAL = 3
INTERRUPTED = 130

SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
"""that `terminating` handles"""
ROOT = Path(__file__).resolve().parents[2]
"""of this tree"""
PACKAGES = ("bench", "pipelines", "kernels", "results")
"""whose warnings `short_warnings` prints in one line"""
WIDTH = 160
"""columns of a table where the output is no terminal"""
ASCII = {
    "×": "x",
    "±": "+-",
    "→": "->",
    "–": "-",
    "…": "...",
    "·": "*",
    "−": "-",
    "²": "2",
    "‡": "#",
    "†": "^",
    "§": "&",
}
"""what is printed for a character that the console's encoding lacks; any other becomes a question mark"""

Main = Callable[[Sequence[str] | None], int]


class Terminated(KeyboardInterrupt):
    """A signal that ends the process came. Handled as Ctrl-C is, with 128 and the number of the signal as status."""

    def __init__(self, number: int = signal.SIGTERM) -> None:
        super().__init__(number)
        self.signal = signal.Signals(number)


def cause_of(error: BaseException) -> str:
    """What ended a command, as the record of a run says it."""
    if isinstance(error, Terminated):
        return error.signal.name
    return "Ctrl-C" if isinstance(error, KeyboardInterrupt) else str(error) or type(error).__name__


@contextlib.contextmanager
def terminating() -> Iterator[None]:
    """SIGTERM and SIGHUP raise `Terminated`. A SIGHUP that the caller ignores, as under nohup, stays ignored."""

    def terminate(signum: int, frame: FrameType | None) -> None:
        for number in previous:
            signal.signal(number, signal.SIG_IGN)  # while the end is recorded
        raise Terminated(signum)

    previous = {number: found for number in SIGNALS if (found := signal.getsignal(number)) is not signal.SIG_IGN}
    for number in previous:
        signal.signal(number, terminate)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def command(main: Main) -> Callable[..., int]:
    """Makes the `main` of a command return an exit status whatever happens.

    ValueError and OSError are the caller's to mend: one line and status 2. Any other exception is a fault of ours: one
    line with the path of a log file that holds the traceback, and status 3.
    """
    name = f"bench/{Path(main.__code__.co_filename).name}"

    @functools.wraps(main)
    def guarded(arguments: Sequence[str] | None = None) -> int:
        output = make_streams_safe() if sys.stdout is sys.__stdout__ else None  # None under a test that captures it
        try:
            with short_warnings():
                status = main(arguments)
            sys.stdout.flush()
            if status == OK and output and output.error:
                raise output.error
            return status
        except Terminated as end:
            return 128 + end.signal
        except KeyboardInterrupt:
            return INTERRUPTED
        except (ValueError, OSError) as error:
            return print_error(name, error)
        except Exception as error:  # noqa: BLE001  the last resort, which loses nothing of it
            return print_internal_error(name, error)

    return guarded


def print_error(name: str, error: Exception) -> int:
    """Print what the caller can mend. Returns exit status 2."""
    message = "\n".join(map(printable, str(error).split("\n")))
    print(as_typed(f"{rank_prefix(os.environ)}{name}: error: {message}"), file=sys.stderr, flush=True)
    return NO_VERDICT


def print_internal_error(name: str, error: Exception) -> int:
    """Write the traceback to a log file and print where it is. Returns exit status 3."""
    text = "".join(traceback.format_exception(error))
    summary = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
    try:
        stem = Path(name).stem
        with tempfile.NamedTemporaryFile(
            "w", prefix=f"paceline-{stem}-", suffix=".log", encoding="utf-8", delete=False
        ) as file:
            file.write(text)
    except OSError:
        print(text, file=sys.stderr)
        where = "above"
    else:
        where = f"in {file.name}"
    message = f"{rank_prefix(os.environ)}{name}: internal error: {summary}; the traceback is {where}"
    print(as_typed(message), file=sys.stderr)
    return INTERNAL


def rank_prefix(variables: Mapping[str, str]) -> str:
    """`[rank1]: ` in one process of several, as torch prints it."""
    several = variables.get("WORLD_SIZE", "1") != "1" and "RANK" in variables
    return f"[rank{variables['RANK']}]: " if several else ""


def processors() -> int:
    """Processes that a reader of many runs may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


def warn(text: str) -> None:
    """One line of warning on standard error."""
    print(as_typed(f"warning: {printable(text)}"), file=sys.stderr)


@contextlib.contextmanager
def short_warnings() -> Iterator[None]:
    """Paceline's own warnings are one line, without the file and source line that Python adds to others."""
    show = warnings.showwarning

    def show_warning(message: Warning | str, category: type[Warning], filename: str, *place: Any, **more: Any) -> None:
        path = Path(filename).resolve()
        if path.is_relative_to(ROOT) and path.relative_to(ROOT).parts[0] in PACKAGES:
            warn(str(message))
        else:
            show(message, category, filename, *place, **more)

    warnings.showwarning = show_warning
    try:
        yield
    finally:
        warnings.showwarning = show


@contextlib.contextmanager
def kept_for_json(wanted: bool) -> Iterator[None]:
    """With --json, what a training prints on standard output goes to standard error: a user's own code, Ray, a library
    in C, and the processes that they start."""
    if not wanted:
        yield
        return
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def print_json(value: Any) -> None:
    """One JSON value in one line on standard output."""
    print(json.dumps(value), flush=True)


def make_console(*, to_stderr: bool = False) -> "Console":
    """A console with the width of the terminal, or a wide one where the output is no terminal."""
    from rich.console import Console

    file = sys.stderr if to_stderr else sys.stdout
    return Console(stderr=to_stderr, width=None if file.isatty() else WIDTH, emoji=False)


def print_line(console: "Console", text: str) -> None:
    """Print a text as it is: nothing in it is markup, and no line is broken."""
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def make_streams_safe() -> "_Output":
    """Let no output end a command: a stream may be closed, on a full disk, its reader gone, its encoding without our
    characters. Returns what writes standard output."""
    while (free := os.open(os.devnull, os.O_RDWR)) <= 2:  # else the next file that is opened would be standard output
        pass
    os.close(free)
    codecs.register_error("paceline", _replace)
    sys.stdin = sys.stdin or Path(os.devnull).open(encoding="utf-8")  # noqa: SIM115
    outputs = {"stdout": _Output(1, "w", closefd=False), "stderr": _Output(2, "w", closefd=False)}
    for name, output in outputs.items():
        stream = getattr(sys, name)
        encoding, by_line = "utf-8", False
        if stream:
            stream.flush()
            encoding = stream.encoding
            by_line = stream.line_buffering or stream.write_through  # the latter with PYTHONUNBUFFERED
        safe = io.TextIOWrapper(io.BufferedWriter(output), encoding, "paceline", line_buffering=by_line)
        setattr(sys, name, safe)
    return outputs["stdout"]


class _Output(io.FileIO):
    """A file that takes whatever is written. What comes after a write that failed is dropped."""

    error: OSError | None = None
    """why it failed; None where only the reader went away"""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if not isinstance(error, BrokenPipeError):
                self.error = OSError(error.errno, error.strerror, "standard output")
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            return len(data)


def _replace(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    return "".join(ASCII.get(character, "?") for character in error.object[error.start : error.end]), error.end
