"""Several processes on one GPU, NCCL with one, and a process that is killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from pipelines.distributed.process_group import World
from tests.gpu.trials import CUDA, in_bulk, relative_difference, train
from tests.gpu.workers import PLAIN, dataset, run_workers

pytestmark = pytest.mark.gpu

REPOSITORY = Path(__file__).resolve().parents[2]


def test_two_gloo_processes_on_one_gpu_train_as_one(tmp_path):
    recipe = in_bulk("digits/quick", *PLAIN)
    alone = train(recipe, dataset(), CUDA)
    first, second = run_workers(tmp_path, "cuda:0", size=2)
    for name, weight in alone.weights.items():
        assert torch.equal(first[name], second[name])
        assert relative_difference(first[name], weight) < 1e-4


def test_nccl_with_one_process():
    if not dist.is_nccl_available():
        pytest.skip("this torch has no NCCL")
    dist.init_process_group("nccl", store=dist.HashStore(), rank=0, world_size=1, device_id=CUDA)
    try:
        values = torch.arange(5.0, device=CUDA)
        dist.all_reduce(values)
        dist.barrier()
        assert values.tolist() == [0, 1, 2, 3, 4]
        assert World(0, 1, CUDA).gather("a") == ["a"]
    finally:
        dist.destroy_process_group()


def with_repository() -> dict[str, str]:
    """The environment of a process that imports what lies in the repository, besides what this one imports."""
    path = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
    return os.environ | {"PYTHONPATH": path}


def test_a_killed_process_gives_its_memory_back_and_leaves_whole_lines(tmp_path):
    before, _ = torch.cuda.mem_get_info(CUDA)
    command = [sys.executable, "bench/run.py", "digits/quick", "--trials", "500", "--device", "cuda", "--out", tmp_path]
    started = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, env=with_repository())
    try:
        deadline = time.monotonic() + 120
        while not (lines := [path for path in tmp_path.rglob("trials.jsonl") if path.read_text().count("\n") > 2]):
            assert started.poll() is None, "it ended by itself"
            assert time.monotonic() < deadline, "no trial in two minutes"
            time.sleep(0.1)
        assert torch.cuda.mem_get_info(CUDA)[0] < before
    finally:
        started.send_signal(signal.SIGKILL)
        started.wait()
    deadline = time.monotonic() + 20
    while torch.cuda.mem_get_info(CUDA)[0] < before - 2**25 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert torch.cuda.mem_get_info(CUDA)[0] >= before - 2**25
    from results.store import find

    (run,) = find([tmp_path])
    assert len(run.trials) >= lines[0].read_text().count("\n") - 1
