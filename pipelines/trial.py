"""The result of a trial: plain numbers, no tensors."""

from dataclasses import dataclass, field
from typing import Literal

from pipelines.clock import Lap

Outcome = Literal["reached", "missed", "finished", "diverged", "failed"]


@dataclass(frozen=True)
class EpochResult:
    """One epoch. Accuracies are fractions of the whole test set; None: not evaluated after this epoch."""

    epoch: int
    """epochs finished, from 1"""
    train_loss: float | None
    """mean over the epoch's images, as trained (smoothed labels, augmented images)"""
    accuracy: float | None = None
    """by the recipe's rule, test-time augmentation included"""
    accuracy_plain: float | None = None
    """from the unaugmented test images alone"""
    train_accuracy: float | None = None


@dataclass(frozen=True)
class Spread:
    """Minimum, median and maximum of the samples of one number."""

    min: float
    median: float
    max: float


@dataclass(frozen=True)
class GpuActivity:
    """What the GPU of one process did during a trial, from samples taken beside the training."""

    samples: int
    sampling_seconds: float
    """that the sampling thread spent in NVML"""
    sm_clock_mhz: Spread | None = None
    memory_clock_mhz: Spread | None = None
    temperature_c: Spread | None = None
    power_w: Spread | None = None
    throttle_reasons: dict[str, float] = field(default_factory=dict)
    """the share of the samples that gave each reason"""
    error: str | None = None
    """why there are no samples"""


@dataclass(frozen=True)
class Trial:
    """One seed of one recipe, trained once."""

    seed: int
    outcome: Outcome
    """whether the accuracy at the end is at or over the target; `finished` where there is none"""
    accuracy: float | None
    accuracy_plain: float | None
    target: float | None
    epochs: tuple[EpochResult, ...]
    laps: tuple[Lap, ...]
    steps: int
    samples: int
    """training images seen, over all processes"""
    peak_host_bytes: int
    """largest resident memory so far of any of the processes"""
    peak_device_bytes: int | None
    """most device memory that any of the processes had in use at once during the trial; None on a CPU"""
    gpus: tuple[GpuActivity, ...] = ()
    """one a process, by rank; empty on a CPU"""
    kernels: tuple[str, ...] | None = None
    """the versions of operations that were compiled on this machine and ran on rank 0, such as `convolution_chain:
    avx2_winograd_4x4`; None: not known"""
    notes: dict[str, object] = field(default_factory=dict)
    reason: str | None = None
    """why it diverged or failed"""
