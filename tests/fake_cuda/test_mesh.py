"""Each process of the strategies that share one network, on a fake CUDA device."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fake_cuda import device
from tests.fake_cuda.meant import MEANT

REPOSITORY = Path(__file__).resolve().parents[2]
OF_TWO = tuple(f"mnist/strategies/{name}" for name in ("pipeline", "pipeline-interleaved", "model", "tensor"))
OF_FOUR = ("mnist/strategies/pipeline-2x2", "mnist/strategies/tensor-2x2")
MEANT_ON_A_MESH = {
    ("sync", "train", "pipelines/strategies/pipeline.py"): "stages tell each other their shapes, before the first step",
    ("sync", "evaluate", "pipelines/strategies/pipeline.py"): "the same, in the two sizes of evaluation batches",
    (
        "sync",
        None,
        "pipelines/distributed/process_group.py",
    ): "memory and laps, when the trial has ended",
}
ONCE = 2 * 2
"""a trial: two reads, on each of two stages a process"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(device.missing() is not None, reason=f"fake CUDA: {device.missing()}"),
]


@pytest.mark.parametrize(
    ("processes", "rank", "names"),
    [(2, 0, (*OF_TWO, "cifar10/strategies/alexnet")), (2, 1, OF_TWO), (4, 3, OF_FOUR)],
)
def test_a_process_trains_and_waits_where_it_is_meant_to(tmp_path, processes, rank, names):
    out = tmp_path / "reports.json"
    command = [sys.executable, "-m", "tests.fake_cuda.mesh", str(processes), str(rank), out, *names]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    reports = json.loads(out.read_text())
    assert {report["recipe"]: report["error"] for report in reports if report["error"]} == {}
    assert all(min(report["launches"]) > 0 for report in reports)
    for report in reports:
        found = {}
        for one in report["findings"]:
            key = one["kind"], one["lap"], one["where"].partition(":")[0]
            if one["lap"] != "set_up" and key not in MEANT:
                found[key] = found.get(key, 0) + one["times"]
        assert found.keys() <= MEANT_ON_A_MESH.keys(), report["recipe"]
        assert found.get(("sync", "train", "pipelines/strategies/pipeline.py"), 0) <= ONCE, report["recipe"]
