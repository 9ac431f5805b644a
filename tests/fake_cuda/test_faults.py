"""What the tests of the recipes look for is found where it is planted."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fake_cuda import device

REPOSITORY = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(device.missing() is not None, reason=f"fake CUDA: {device.missing()}")

EXPECTED = {
    "nothing": set(),
    "device": {"device"},
    "read": {"sync"},
    "list": {"sync"},
    "mask": {"sync"},
    "synchronize": {"sync"},
    "to the device": {"sync"},
    "unpinned": {"unpinned"},
    "pinned": set(),
    "layout": {"layout"},
    "dtypes of a list": {"lists"},
    "dtype": set(),
}
"""kinds of findings that a trial without a fault does not have"""


def test_every_planted_fault_is_found(tmp_path):
    command = [sys.executable, "-m", "tests.fake_cuda.faults", tmp_path / "found.json"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    usual = [where for _, where in found["nothing"]["findings"]]
    kinds = {name: {kind for kind, where in report["findings"] if where not in usual} for name, report in found.items()}
    assert kinds == EXPECTED
    assert found["dtype"]["wrong_dtypes"] == [
        f"head.{name} is torch.float16 and should be torch.float32" for name in ("weight", "bias")
    ]
    assert found["device"]["launches"] > found["nothing"]["launches"]
