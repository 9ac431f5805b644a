"""A limit to the memory of a process, and the error of a training that has not enough.

On a GPU, torch's allocator holds the limit (`torch.cuda.set_per_process_memory_fraction`). On a CPU, Linux does, by
RLIMIT_DATA: the private memory that a process may write, touched or not. RLIMIT_AS would also count address space that
torch only reserves, gigabytes of it, and Linux ignores RLIMIT_RSS.
"""

import contextlib
import re
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import torch

from pipelines.host import runtime

SHORTAGES = ("can't allocate memory", "out of memory", "bad_alloc", "not enough memory", "can't start new thread")
"""what torch's allocators, C++ and Python say in a RuntimeError"""
PRIMITIVE = "could not create a primitive|could not execute a primitive|could not create a memory object"
"""what oneDNN says of its own memory, and of other faults"""


class OutOfMemoryError(ValueError):
    """A process had not enough memory for its training."""


@cache
def held_at_start() -> int:
    """Bytes of RLIMIT_DATA that this process held when it first called this. Call it before the data are loaded."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(re.search(r"^VmData:\s*(\d+) kB$", status, re.MULTILINE)[1])


def check(device: torch.device, size: int | None) -> None:
    """Call this before anything is allocated. ValueError for a limit that cannot be held on the device.

    On a CPU, memory that is freed is from then on returned to the system, which costs time: kept memory would count.
    """
    if size is None:
        return
    if device.type == "cuda":
        total = torch.cuda.get_device_properties(device).total_memory
        if size > total:
            raise ValueError(f"--memory-limit {written(size)}: the GPU has {written(total)}; say less")
    elif sys.platform == "linux":
        runtime.return_memory()
        held_at_start()
    else:
        raise ValueError("--memory-limit on a CPU needs Linux, which limits the memory of a process: leave it out")


@contextlib.contextmanager
def limited(device: torch.device, size: int | None) -> Iterator[Callable[[], None]]:
    """Within it, this process holds at most `size` bytes more than at its start; on a GPU, `size` bytes of its memory.
    What it yields lifts the limit.

    OutOfMemoryError where there is not enough, with a limit or without. The limit is lifted before that is raised,
    because reporting an error takes memory too.
    """
    lift = _limit(device, size) if size is not None else lambda: None
    try:
        yield lift
    except Exception as error:
        lift()
        causes = (one for one in with_causes(error) if is_shortage(one, is_limited=size is not None))
        if (cause := next(causes, None)) is None:
            raise
        why = re.sub(r"^\[.*?\] (err == 0\. )?", "", (str(cause).splitlines() or [type(cause).__name__])[0])
        within = "" if size is None else f" (--memory-limit {written(size)})"
        raise OutOfMemoryError(f"{why}{within}") from error
    finally:
        lift()


def is_shortage(error: BaseException, *, is_limited: bool) -> bool:
    """Whether an error says that there is not enough memory."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    if not isinstance(error, RuntimeError):
        return False
    return any(text in str(error) for text in SHORTAGES) or (is_limited and bool(re.search(PRIMITIVE, str(error))))


def with_causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what it was raised from: a pipeline raises its own from that of a stage."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def written(size: int) -> str:
    """A number of bytes in MiB."""
    return f"{size / 2**20:g} MiB"


def _limit(device: torch.device, size: int) -> Callable[[], None]:
    """Set the limit; what is returned lifts it."""
    if device.type == "cuda":
        total = torch.cuda.get_device_properties(device).total_memory
        torch.cuda.set_per_process_memory_fraction(size / total, device)
        return lambda: torch.cuda.set_per_process_memory_fraction(1.0, device)
    import resource

    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (held_at_start() + size, before[1]))
    return lambda: resource.setrlimit(resource.RLIMIT_DATA, before)
