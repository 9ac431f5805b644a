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
)


@dataclass(frozen=True)
class TorchSettings:
    """What a file may set for its whole process."""

    threads: int
    dtype: torch.dtype
    device: torch.device
    deterministic: tuple[bool, bool]
    """algorithms, warn_only"""
    gradients: bool
    switches: tuple[tuple[int, Any], ...]
    """value of each of SWITCHES, by its place; without those that torch refuses to read because a newer switch set them
    apart"""

    @classmethod
    def capture(cls) -> "TorchSettings":
        """The settings now."""
        switches = []
        for place, (owner, name) in enumerate(SWITCHES):
            with contextlib.suppress(RuntimeError):
                switches.append((place, getattr(owner, name)))
        return cls(
            torch.get_num_threads(),
            torch.get_default_dtype(),
            torch.get_default_device(),
            (torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()),
            torch.is_grad_enabled(),
            tuple(switches),
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
        for place, value in self.switches:
            owner, name = SWITCHES[place]
            setattr(owner, name, value)
