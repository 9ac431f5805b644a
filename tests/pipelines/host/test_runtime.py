"""Each case is a process of its own: what `host` settles is settled once a process."""

import os
import platform
import subprocess
import sys

import pytest

from pipelines.host import runtime

GLIBC = platform.libc_ver()[0] == "glibc"


def run(program, **environment):
    """What a new Python prints, started as `accelerate launch` would start it."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | environment
    command = [sys.executable, "-c", f"from pipelines.host import runtime\n{program}"]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.split()


TORCH_THREADS = "runtime.prepare()\nimport torch\nprint(torch.get_num_threads())"
WANTED = "import os\nruntime.cores = lambda: 6\nruntime.prepare({threads})\nprint(os.environ['OMP_NUM_THREADS'])"


def test_one_process_takes_all_cores():
    assert run(TORCH_THREADS) == [str(runtime.cores())]


def test_two_processes_take_half_the_cores_each():
    assert run(TORCH_THREADS, LOCAL_WORLD_SIZE="2") == [str(runtime.cores() // 2 or 1)]


@pytest.mark.parametrize(
    ("processes", "threads", "wanted"),
    [("1", None, "6"), ("2", None, "3"), ("4", None, "1"), ("9", None, "1"), ("2", 5, "5")],
)
def test_threads_of_six_cores(processes, threads, wanted):
    assert run(WANTED.format(threads=threads), LOCAL_WORLD_SIZE=processes) == [wanted]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_cores_are_those_that_the_process_may_use():
    first = min(os.sched_getaffinity(0))
    assert run(f"import os\nos.sched_setaffinity(0, [{first}])\nprint(runtime.cores())") == ["1"]


LAUNCH = """
import os, subprocess, sys
first, second = sorted(os.sched_getaffinity(0))[:2]
os.sched_setaffinity(0, {launcher})
program = '''
import os
from pipelines.host import runtime
os.sched_setaffinity(0, {process})
runtime.cores = lambda: 6
print(runtime.share_of_cores())
'''
subprocess.run([sys.executable, "-c", program.format(first=first, second=second)], check=True)
"""


@pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2,
    reason="this takes two CPUs to choose from",
)
@pytest.mark.parametrize(
    ("launcher", "process", "processes", "wanted"),
    [
        ("[first, second]", "[{first}]", "2", "6"),  # the launcher has bound each process to its part
        ("[first, second]", "[{first}, {second}]", "2", "3"),  # taskset or a container's cpuset around the launcher
        ("[first]", "[{first}]", "2", "3"),
        ("[first, second]", "[{first}]", "3", "4"),  # to a half, as `torchrun --numa-binding=node` does: 12 cores for 3
        ("[first, second]", "[{first}]", "4", "3"),
        ("[first]", "[{first}]", "1", "6"),
    ],
)
def test_cores_are_shared_out_unless_the_launcher_has_bound_each_process(launcher, process, processes, wanted):
    program = LAUNCH.replace("{launcher}", launcher).replace("{process}", process)
    assert run(program, LOCAL_WORLD_SIZE=processes) == [wanted]


def test_preparing_after_torch_is_a_mistake():
    program = (
        "import sys\nsys.modules['torch'] = sys\n"
        "try:\n    runtime.prepare()\nexcept AssertionError:\n    print('refused')"
    )
    assert run(program) == ["refused"]


def test_preparing_does_not_import_torch():
    assert run("import sys\nruntime.prepare()\nprint('torch' in sys.modules)") == ["False"]


RESIDENT_AFTER_FREEING = """
import psutil
import numpy as np
runtime.prepare() if {prepare} else None
block = np.ones(64 * 2**20, dtype=np.uint8)
del block
print(psutil.Process().memory_info().rss // 2**20)
"""


@pytest.mark.skipif(not GLIBC, reason="another C library than glibc")
def test_glibc_keeps_freed_memory():
    assert run("print(runtime.keep_memory())") == ["True"]
    kept, given_back = (int(run(RESIDENT_AFTER_FREEING.format(prepare=prepare))[0]) for prepare in (True, False))
    assert kept > given_back + 50


@pytest.mark.skipif(not GLIBC, reason="another C library than glibc")
def test_glibc_returns_freed_memory_again():
    returning = RESIDENT_AFTER_FREEING.replace("block =", "runtime.return_memory()\nblock =")
    kept, returned = (int(run(one.format(prepare=True))[0]) for one in (RESIDENT_AFTER_FREEING, returning))
    assert kept > returned + 50


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(runtime.ctypes, "CDLL", lambda name: object())
    assert runtime.keep_memory() is False
    assert runtime.return_memory() is False
