"""Settings of torch are captured and put back."""

import pytest
import torch

from pipelines.host import devices
from pipelines.host.torch_settings import TorchSettings

CHANGES = {
    "medium": lambda: torch.set_float32_matmul_precision("medium"),
    "high": lambda: torch.set_float32_matmul_precision("high"),
    "TF32": lambda: devices.use_float32("tf32"),
    "TF32 of products, by the newer switch": lambda: setattr(torch.backends.cuda.matmul, "fp32_precision", "tf32"),
    "TF32 of convolutions, by the newer switch": lambda: setattr(torch.backends.cudnn.conv, "fp32_precision", "tf32"),
    "bfloat16 of a CPU's products": lambda: setattr(torch.backends.mkldnn.matmul, "fp32_precision", "bf16"),
    "anomalies": lambda: torch.autograd.set_detect_anomaly(True, check_nan=False),
    "float16 sums": lambda: setattr(torch.backends.cuda.matmul, "allow_fp16_accumulation", True),
    "cudnn": lambda: setattr(torch.backends.cudnn, "benchmark", not torch.backends.cudnn.benchmark),
    "dtype": lambda: torch.set_default_dtype(torch.float64),
}


@pytest.fixture(autouse=True)
def plain():
    """torch's own settings of float32, before a test and after it, whatever other tests set."""
    before = TorchSettings.capture()
    devices.use_float32("ieee")
    torch.set_float32_matmul_precision("highest")
    yield
    devices.use_float32("ieee")
    before.apply()


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_is_undone_and_made_again(change):
    before = TorchSettings.capture()
    change()
    changed = TorchSettings.capture()
    assert changed != before
    before.apply()
    assert TorchSettings.capture() == before
    changed.apply()
    assert TorchSettings.capture() == changed
    before.apply()
    assert TorchSettings.capture() == before


def test_medium_stays_medium():
    before = TorchSettings.capture()
    torch.set_float32_matmul_precision("medium")
    medium = TorchSettings.capture()
    before.apply()
    assert torch.get_float32_matmul_precision() == "highest"
    medium.apply()
    assert torch.get_float32_matmul_precision() == "medium"
    before.apply()
