"""The process that writes a run, so that a reader can tell a run in progress from one whose process is gone."""

import hashlib
import platform

import psutil
from pydantic import BaseModel, ConfigDict

TOLERANCE = 5.0
"""seconds by which a step of the clock may move the start of a process"""


class Writer(BaseModel):
    """A process, by the host that it runs on and when it started."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str
    """a hash, so that a record can be public"""
    pid: int
    started: float
    """in seconds since 1970"""


def this_process() -> Writer:
    process = psutil.Process()
    return Writer(host=_host(), pid=process.pid, started=process.create_time())


def is_gone(writer: Writer) -> bool:
    """Whether the process has ended. One of another host is taken to live."""
    if writer.host != _host():
        return False
    try:
        process = psutil.Process(writer.pid)
        ended = process.status() == psutil.STATUS_ZOMBIE
        return ended or abs(process.create_time() - writer.started) > TOLERANCE
    except psutil.NoSuchProcess:
        return True
    except psutil.AccessDenied:
        return False


def _host() -> str:
    return hashlib.sha256(f"paceline {platform.node()}".encode()).hexdigest()[:16]
