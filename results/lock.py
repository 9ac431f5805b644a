"""One writer a run: a lock that the operating system drops when the process ends, however it ends."""

import json
import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filelock import BaseFileLock

LOCK, HOLDER = ".lock", ".lock-holder"


def acquire(run: Path) -> "BaseFileLock":
    """Lock a run's directory until `release`, or until this process ends.

    The lock is `flock`'s, so that none is left behind by a process that was killed. On NFS it holds between machines
    where the server locks files (Linux does, with NFSv4 or with lockd), and on Lustre where it is mounted with `flock`.
    A file system without `flock` gets a lock file in its place, which outlives a killed process of another machine and
    must then be deleted by hand.

    Raises ValueError, with the host and process that hold the lock, if another process writes the run; OSError, with a
    remedy, if the file system refuses locks.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(run / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ValueError(f"{run}: {_holder(run)} writes this run: wait until it has ended, or stop it") from None
    except OSError as error:
        if error.filename is not None:  # the file could not be opened
            raise
        reason = f"cannot be locked ({error.strerror}): record on another file system, or let the NFS server lock files"
        raise OSError(error.errno, reason, str(run / LOCK)) from None
    holder = {"host": socket.gethostname(), "pid": os.getpid(), "since": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"}
    try:
        (run / HOLDER).write_text(json.dumps(holder), encoding="utf-8")
    except OSError:
        lock.release()
        raise
    return lock


def release(run: Path, lock: "BaseFileLock") -> None:
    """Let another process write the run. The lock file stays: deleting it could give two processes a lock each."""
    if lock.is_locked:
        (run / HOLDER).unlink(missing_ok=True)
        lock.release()


def _holder(run: Path) -> str:
    try:
        holder = json.loads((run / HOLDER).read_text(encoding="utf-8"))
        return f"process {holder['pid']} on {holder['host']} (since {holder['since']})"
    except (OSError, ValueError, KeyError, TypeError):  # not written yet
        return "another process"
