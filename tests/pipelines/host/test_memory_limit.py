import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from pipelines.host import memory_limit

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
MIB = 2**20
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA counts memory on Linux alone")
IN_A_PROCESS = """
import threading, torch
from pipelines.host import memory_limit
device = torch.device("cpu")
memory_limit.check(device, 100 * 2**20)
held = []
try:
    with memory_limit.Limit(device, 100 * 2**20).held():
        while True:
            held.append(torch.ones(2**18))
except memory_limit.OutOfMemoryError as error:
    print(len(held), error)
    threading.Thread(target=print, args=("reported",)).start()
    torch.ones(2**26)
"""


@on_linux
def test_a_process_has_the_memory_that_it_is_given_and_can_report_that_it_had_no_more():
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}  # the stacks of others would count
    command = [sys.executable, "-c", IN_A_PROCESS]
    ended = subprocess.run(command, env=one_thread, capture_output=True, text=True, check=True)
    first, second = ended.stdout.splitlines()
    count, message = first.split(maxsplit=1)
    assert 80 <= int(count) <= 100
    assert "tried to allocate 1048576 bytes" in message
    assert message.endswith("(--memory-limit 100 MiB)")
    assert second == "reported"


@pytest.mark.parametrize(
    ("error", "is_shortage"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"),
            True,
        ),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"), True),
        (RuntimeError("could not create a primitive"), False),
        (RuntimeError("Connection closed by peer"), False),
        (KeyError("out of memory"), False),
    ],
)
def test_a_shortage_without_a_limit_has_the_same_error(error, is_shortage):
    expected = memory_limit.OutOfMemoryError if is_shortage else type(error)
    with pytest.raises(expected), memory_limit.Limit(CPU, None).held():
        raise error


def test_the_error_of_a_stage_is_found_under_that_of_its_pipeline():
    with pytest.raises(memory_limit.OutOfMemoryError, match="^std::bad_alloc$"), memory_limit.Limit(CPU, None).held():
        try:
            raise RuntimeError("std::bad_alloc")
        except RuntimeError as error:
            raise RuntimeError("Failed to run stage backward:") from error


def test_a_gpu_gets_the_share_of_its_memory(monkeypatch):
    fractions = []
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=800 * MIB))
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda share, device: fractions.append(share))
    memory_limit.check(CUDA, 200 * MIB)
    with memory_limit.Limit(CUDA, 200 * MIB).held():
        assert fractions == [0.25]
    assert fractions[-1] == 1
    with pytest.raises(ValueError, match="--memory-limit 900 MiB: the GPU has 800 MiB; use less"):
        memory_limit.check(CUDA, 900 * MIB)
