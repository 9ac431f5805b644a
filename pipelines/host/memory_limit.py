"""A limit to the memory of a process, and the error of a training that has not enough.

On a GPU, torch's allocator holds the limit (`torch.cuda.set_per_process_memory_fraction`). On a CPU, Linux does, by
RLIMIT_DATA: the private memory that a process may write, touched or not. RLIMIT_AS would also count address space that
torch only reserves, gigabytes of it, and Linux ignores RLIMIT_RSS.
"""

import contextlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

from pipelines.host import runtime
from pipelines.host.errors import with_causes

SHORTAGES = (
    "can't allocate memory",
    "out of memory",
    "bad_alloc",
    "not enough memory",
    "can't start new thread",
    "ALLOC_FAILED",
    "ALLOCATION_FAILED",
)
"""what torch's allocators, C++, Python, cuBLAS and cuDNN say in a RuntimeError"""
PRIMITIVE = "could not create a primitive|could not execute a primitive|could not create a memory object"
"""what oneDNN says of its own memory, and of other faults"""


class OutOfMemoryError(ValueError):
    """A process had not enough memory for its training."""


def check(device: torch.device, size: int | None) -> None:
    """Call this before anything is allocated. ValueError for a limit that cannot be held on the device.

    On a CPU, memory that is freed is from then on returned to the system, which costs time: kept memory would count.
    """
    if size is None:
        return
    if device.type == "cuda":
        total = torch.cuda.get_device_properties(device).total_memory
        if size > total:
            raise ValueError(f"--memory-limit {written(size)}: the GPU has {written(total)}; use less")
    elif sys.platform == "linux":
        runtime.return_memory()
    else:
        raise ValueError("--memory-limit on a CPU needs Linux, which limits the memory of a process: leave it out")


class Limit:
    """A process may take `size` bytes of a GPU's memory, or of the host's beyond what it holds when this is made.

    None: no limit.
    """

    def __init__(self, device: torch.device, size: int | None) -> None:
        self._device, self._size = device, size
        self._before = held_bytes() if size is not None and device.type == "cpu" else 0

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold it until the end of the block. OutOfMemoryError where there is not enough, with a limit or without.

        The limit is lifted before that is raised, because reporting an error takes memory too.
        """
        self._set(self._size)
        try:
            yield
        except Exception as error:
            self.lift()
            causes = (one for one in with_causes(error) if is_shortage(one, is_limited=self._size is not None))
            if (cause := next(causes, None)) is None:
                raise
            why = re.sub(r"^\[.*?\] (err == 0\. )?", "", (str(cause).splitlines() or ["not enough memory"])[0])
            within = "" if self._size is None else f" (--memory-limit {written(self._size)})"
            raise OutOfMemoryError(f"{why}{within}") from error
        finally:
            self.lift()

    def lift(self) -> None:
        """Let the process take what there is."""
        if self._size is not None:
            self._set(None)

    def _set(self, size: int | None) -> None:
        if self._size is None:
            return
        if self._device.type == "cuda":
            total = torch.cuda.get_device_properties(self._device).total_memory
            torch.cuda.set_per_process_memory_fraction(1.0 if size is None else size / total, self._device)
            return
        import resource  # there is none on Windows

        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (hard if size is None else self._before + size, hard))


def held_bytes() -> int:
    """What this process holds of what RLIMIT_DATA counts."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(r"^VmData:\s*(\d+) kB$", status, re.MULTILINE)
    assert found
    return 1024 * int(found[1])


def is_shortage(error: BaseException, *, is_limited: bool) -> bool:
    """Whether an error says that there is not enough memory."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    if not isinstance(error, RuntimeError):
        return False
    return any(text in str(error) for text in SHORTAGES) or (is_limited and bool(re.search(PRIMITIVE, str(error))))


def written(size: int) -> str:
    """A number of bytes in MiB."""
    return f"{size / 2**20:g} MiB"
