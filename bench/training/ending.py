"""How a run ends: what its record says of it, and what the user reads."""

import contextlib
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence

from bench.command_line.cli import cause_of, print_error, rank_prefix
from bench.command_line.invocation import as_typed
from bench.command_line.jobs import PROG
from bench.training import events
from bench.training.live_view import TrialLines
from pipelines.distributed import failures
from pipelines.distributed.process_group import World
from pipelines.host import environment, memory_limit
from pipelines.scripts.run import ScriptError
from results import store

INTERRUPTION = 3.0
"""seconds that a stopped process waits for the others, which may have been stopped too"""


@contextlib.contextmanager
def ending(
    directory: store.RunDirectory | None, world: World, places: Sequence[failures.Place], view: TrialLines
) -> Iterator[None]:
    """Record how the run ended."""

    def finish(status: store.Status, reason: str | None = None) -> None:
        view.end_run()
        if directory:
            directory.finish(status, reason, {"after": environment.telemetry(world.device)})

    def finish_badly(status: store.Status, reason: str) -> None:
        """As `finish`, where an error is on its way that a full disk must not replace."""
        try:
            finish(status, reason)
        except OSError as error:
            print(f"warning: how the run ended could not be recorded: {error}", file=sys.stderr, flush=True)

    kept = f"; finished trials are kept; continue with {how_to_resume(directory)}" if directory else ""

    def lost(cause: str) -> None:
        finish_badly("interrupted" if failures.is_stop(cause) else "failed", cause)
        print_error(PROG, RuntimeError(f"{cause}{kept}"))

    try:
        with failures.Watcher(world, places, lost):
            yield
    except KeyboardInterrupt as interrupt:
        name = cause_of(interrupt)
        cause = failures.stopped(world, places, name, INTERRUPTION) if world.size > 1 else None
        if cause and not failures.is_stop(cause):  # the launcher stops all processes when one has failed
            finish_badly("failed", cause)
            raise failures.PeerError(cause + kept) from None
        finish_badly("interrupted", cause or name)
        if cause:
            print(as_typed(f"{rank_prefix(os.environ)}{PROG}: {cause}"), file=sys.stderr, flush=True)
        if directory:
            view.line(f"interrupted{kept}")
        raise
    except GeneratorExit:
        finish_badly("interrupted", "a run that it was interleaved with has ended early")
        raise
    except OSError as error:
        finish_badly("failed", failures.explain(world, error, places) if world.size > 1 else str(error))
        raise
    except Exception as error:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        reason = failures.explain(world, error, places)
        finish_badly("interrupted" if failures.is_stop(reason) else "failed", reason)
        if world.size > 1 and failures.is_of_a_peer(error):
            raise failures.PeerError(reason + kept) from None
        if isinstance(error, memory_limit.OutOfMemoryError):
            raise memory_limit.OutOfMemoryError(f"a trial of {view.name} failed: {reason}{kept}") from error
        if isinstance(error, ScriptError):
            raise ScriptError(f"{error}{keep_traceback(directory, error)}{kept}") from error
        raise RuntimeError(f"a trial of {view.name} failed: {reason}{kept}") from error
    finish("finished")


def how_to_resume(directory: store.RunDirectory) -> str:
    """The options that continue a run, with those that this process interleaved with it: other processes have other
    code."""
    has_others = directory.record.interleaved and events.INTERLEAVED not in os.environ
    others = ", and one more --resume for each run that it was interleaved with" if has_others else ""
    return f"--resume {directory.path}{others}"


def keep_traceback(directory: store.RunDirectory | None, error: ScriptError) -> str:
    """Write the traceback of the user's own code beside the record; where it is, for the message. A full disk must not
    replace the error."""
    if directory is None or error.__cause__ is None:
        return ""
    path = directory.path / "traceback.txt"
    text = "".join(traceback.format_exception(error.__cause__))
    try:
        path.write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError as failure:
        return f"; the traceback could not be written: {failure}"
    return f"; the traceback is in {path}"
