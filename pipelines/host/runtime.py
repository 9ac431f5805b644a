"""What must be settled before torch is imported: threads and memory of the host. Imports no torch.

`accelerate launch` sets OMP_NUM_THREADS=1, and OpenMP reads it once, when torch loads. glibc hands large blocks back
to the system as soon as they are freed, so that every training step on a CPU pays again for mapping the same memory.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Mapping

from pipelines.host.quota import within_quota

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_MMAP_MAX = -4
_PR_SET_PDEATHSIG = 1

AT_A_TIME = "PACELINE_AT_A_TIME"
"""variable with the number of runs that share this host, each on its own part of it, where there are several"""
LAUNCHERS = {"ACCELERATE_MIXED_PRECISION", "TORCHELASTIC_RUN_ID"}
"""variables of `accelerate launch` and torchrun"""


def prepare(threads: int | None = None) -> None:
    """Set this process's threads (None: its share of the host's cores), keep freed memory, end with the launcher."""
    assert "torch" not in sys.modules, "OpenMP has already read OMP_NUM_THREADS"
    os.environ["OMP_NUM_THREADS"] = str(threads or share_of_cores())
    keep_memory()
    end_with_launcher()


def cores() -> int:
    """Cores that this process may use: the physical ones, or what its affinity or its quota leave of all CPUs."""
    from joblib import cpu_count

    return within_quota(cpu_count(only_physical_cores=True))


def share_of_cores() -> int:
    """Cores for this process, where the launcher started several: its part of those that it may use.

    The launcher, its parent, may use the cores of all. It may have bound each process to cores of its own, or several
    to those of a NUMA node.
    """
    processes, own, of_all = processes_on_host(), 1, 1
    if hasattr(os, "sched_getaffinity"):
        of_all = len(os.sched_getaffinity(os.getppid()))
        own = min(len(os.sched_getaffinity(0)), of_all)
    return max(1, min(cores(), cores() * of_all // (own * processes)))


def processes_on_host() -> int:
    """How many processes the launcher started on this host."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def keep_memory() -> bool:
    """Tell glibc to keep freed memory. False where the C library is another one, which is left as it is."""
    return _tell_glibc({_M_MMAP_MAX: 0, _M_TRIM_THRESHOLD: 2**31 - 1})


def return_memory() -> bool:
    """Tell glibc to return freed memory at once, so that what a process holds is what it uses. False as above."""
    return _tell_glibc({_M_MMAP_MAX: 2**16, _M_MMAP_THRESHOLD: 2**20, _M_TRIM_THRESHOLD: 2**20})


def _tell_glibc(options: Mapping[int, int]) -> bool:
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return all(mallopt(option, value) for option, value in options.items())


def end_with_launcher() -> bool:
    """Have SIGTERM sent to this process when `accelerate launch` or torchrun dies, also by SIGKILL.

    `accelerate launch` does not pass signals on. False where nothing was done: another launcher, or not Linux.
    """
    return not os.environ.keys().isdisjoint(LAUNCHERS) and end_with_parent(signal.SIGTERM)


def end_with_parent(number: int) -> bool:
    """Have this signal sent to this process when its parent dies. False where the system is not Linux."""
    if sys.platform != "linux":
        return False
    parent = os.getppid()
    is_set = ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number) == 0
    if os.getppid() != parent:  # it has died in the meantime
        signal.raise_signal(number)
    return is_set
