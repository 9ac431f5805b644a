"""Global settings of torch, which one training must not leave to the next."""

import contextlib
from dataclasses import dataclass
from typing import Any

import torch

SWITCHES: tuple[tuple[Any, str], ...] = (
    (torch.backends.cudnn, "enabled"),
    (torch.backends.cudnn, "benchmark"),
    (torch.backends.cudnn, "deterministic"),
    (torch.backends.cudnn, "allow_tf32"),
    (torch.backends.cuda.matmul, "allow_tf32"),
    (torch.backends.cuda.matmul, "allow_fp16_accumulation"),
    (torch.backends.cuda.matmul, "allow_fp16_reduced_precision_reduction"),
    (torch.backends.cuda.matmul, "allow_bf16_reduced_precision_reduction"),
    (torch.backends.cudnn.conv, "fp32_precision"),
    (torch.backends.cuda.matmul, "fp32_precision"),
    (torch.backends.mkldnn.conv, "fp32_precision"),
    (torch.backends.mkldnn.matmul, "fp32_precision"),
)
"""The newer switches of float32 (`fp32_precision`) come last, because the older ones set them too."""


@dataclass(frozen=True)
class TorchSettings:
    """What a file may set for its whole process."""

    threads: int
    dtype: torch.dtype
    device: torch.device
    deterministic: tuple[bool, bool]
    """algorithms, warn_only"""
    gradients: bool
    anomaly: tuple[bool, bool]
    """whether autograd looks for anomalies, and for NaN among them"""
    matmul_precision: str | None
    """of `torch.set_float32_matmul_precision`; None where torch refuses to read it, as it does some switches"""
    switches: tuple[tuple[int, Any], ...]
    """value of each of SWITCHES, by its place; without those that torch refuses to read because a newer switch set them
    apart"""

    @classmethod
    def capture(cls) -> "TorchSettings":
        """The settings now."""
        matmul_precision = None
        with contextlib.suppress(RuntimeError):
            matmul_precision = torch.get_float32_matmul_precision()
        return cls(
            torch.get_num_threads(),
            torch.get_default_dtype(),
            torch.get_default_device(),
            (torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()),
            torch.is_grad_enabled(),
            (torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()),
            matmul_precision,
            tuple((place, value) for place in range(len(SWITCHES)) for value in _read(place)),
        )

    def apply(self) -> None:
        """Make them the settings."""
        if self == TorchSettings.capture():
            return
        torch.set_num_threads(self.threads)
        torch.set_default_dtype(self.dtype)
        torch.set_default_device(None if self.device == torch.device("cpu") else self.device)
        torch.use_deterministic_algorithms(self.deterministic[0], warn_only=self.deterministic[1])
        torch.set_grad_enabled(self.gradients)
        torch.autograd.set_detect_anomaly(*self.anomaly)
        if self.matmul_precision is not None:
            torch.set_float32_matmul_precision(self.matmul_precision)
        for place, value in self.switches:
            if _read(place) != [value]:  # to set one that is right would turn "medium" into "high"
                owner, name = SWITCHES[place]
                setattr(owner, name, value)


def _read(place: int) -> list[Any]:
    """The value of a switch; nothing where torch refuses to read it."""
    owner, name = SWITCHES[place]
    with contextlib.suppress(RuntimeError):
        return [getattr(owner, name)]
    return []
