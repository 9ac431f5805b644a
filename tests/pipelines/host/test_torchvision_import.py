import subprocess
import sys

import pytest
import torch

from pipelines.host import torchvision_import


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def test_torchvision_imports_and_works() -> None:
    code = """
import gc
import torch
from pipelines.host.torchvision_import import import_torchvision
torchvision = import_torchvision()
gc.collect()
assert import_torchvision() is torchvision
image = torch.arange(12, dtype=torch.uint8).reshape(1, 3, 4)
from torchvision.transforms import v2
assert v2.functional.horizontal_flip(image).tolist() == image.flip(2).tolist()
assert torchvision.datasets.CIFAR10.tgz_md5
assert hasattr(torch.ops.torchvision, "nms")
"""
    done = run(code)
    assert done.returncode == 0, done.stderr


def test_schemas_are_declared_only_without_cuda_and_without_the_extension(monkeypatch: pytest.MonkeyPatch) -> None:
    declared = []
    monkeypatch.setattr(torchvision_import, "_declare_schemas", lambda: declared.append(True))
    monkeypatch.setitem(sys.modules, "torchvision", sys)  # stands for it: nothing is imported
    for cuda, loads, expected in (("13.0", False, 0), ("13.0", True, 0), (None, True, 0), (None, False, 1)):
        monkeypatch.setattr(torch.version, "cuda", cuda)
        monkeypatch.setattr(torchvision_import, "_operators_load", lambda loads=loads: loads)
        declared.clear()
        assert torchvision_import.import_torchvision.__wrapped__() is sys
        assert len(declared) == expected, (cuda, loads)


def test_without_torchvision_the_error_is_the_usual_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision_import, "find_spec", lambda name: None)
    monkeypatch.setattr(torchvision_import, "_declare_schemas", lambda: None)
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(ModuleNotFoundError, match="torchvision"):
        torchvision_import.import_torchvision.__wrapped__()
