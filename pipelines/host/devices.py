"""The device that a run trains on, and the number formats it is fast in."""

import os
import resource
from collections.abc import Callable, Mapping
from typing import Literal

import torch

from pipelines.clock import Clock, DeviceTimer, HostTimer
from pipelines.recipe import Recipe


class CudaTimer:
    """CUDA events of a device, read after it has been synchronised."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def mark(self) -> torch.cuda.Event:
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self._device))  # by itself on the current device, which may be another
        return event

    def seconds(self, start: torch.cuda.Event, end: torch.cuda.Event) -> float:
        return start.elapsed_time(end) / 1000


def find_device(
    name: str, local_rank: int = 0, local_size: int = 1, variables: Mapping[str, str] = os.environ
) -> torch.device:
    """`auto`, `cpu`, `cuda` or `cuda:1` as the device of this process. ValueError when there is no such device.

    `auto` is a GPU where there is one, unless `accelerate launch` was asked for the CPU (--cpu, use_cpu).
    local_size: processes on this host. Each takes a GPU of its own: the one of its local rank, or the only one that it
    sees, as Slurm binds them with CUDA_VISIBLE_DEVICES.
    """
    if name == "auto":
        wants_cpu = variables.get("ACCELERATE_USE_CPU", "").lower() == "true"
        name = "cuda" if torch.cuda.is_available() and not wants_cpu else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"--device {name!r}: use auto, cpu, cuda or cuda:N") from None
    if device.type == "cpu":
        return torch.device("cpu")
    if device.type != "cuda":
        raise ValueError(f"--device {name}: Paceline trains on cpu and cuda")
    if not torch.cuda.is_available():
        raise ValueError(f"--device {name}: torch {torch.__version__} sees no CUDA device; use --device cpu")
    count = torch.cuda.device_count()
    if local_size > 1 and device.index is not None:
        raise ValueError(
            f"--device {name} is one GPU, and there are {local_size} processes on this host: use --device cuda"
        )
    is_bound = count == 1 and "CUDA_VISIBLE_DEVICES" in variables
    if local_size > count and not is_bound:
        raise ValueError(
            f"{local_size} processes on this host and {count} visible CUDA devices: launch {count}, or use --device cpu"
        )
    index = device.index if device.index is not None else 0 if is_bound else local_rank
    if index >= count:
        raise ValueError(f"--device {name}: torch sees {count} CUDA devices, numbered from 0")
    return torch.device("cuda", index)


def make_clock(device: torch.device, barrier: Callable[[], None] = lambda: None) -> Clock:
    """A clock that synchronises with the device, and at the start of a lap with other processes."""
    if device.type == "cuda":
        return Clock(
            synchronize=lambda: torch.cuda.synchronize(device), device_timer=CudaTimer(device), barrier=barrier
        )
    return Clock(barrier=barrier)


def make_timer(device: torch.device) -> DeviceTimer:
    """What times the work of a device without synchronising: CUDA events; on a CPU the host's clock."""
    return CudaTimer(device) if device.type == "cuda" else HostTimer()


def number_formats(recipe: Recipe, device: torch.device) -> tuple[torch.dtype, torch.dtype]:
    """The dtypes of the weights and of the images by the recipe's `precision`, on this device.

    ValueError for `half` on a CPU in float16, whose backward pass is a reference kernel.
    """
    if recipe.precision == "float32":
        return torch.float32, torch.float32
    if recipe.precision == "autocast":
        return torch.float32, torch.bfloat16
    half = half_dtype(recipe.half_dtype, device)
    return half, half


def half_dtype(wanted: str, device: torch.device) -> torch.dtype:
    """What `precision: half` is on this device. ValueError as above."""
    if device.type == "cuda":
        return torch.bfloat16 if wanted == "bfloat16" else torch.float16
    if wanted == "float16":
        raise ValueError(
            "half_dtype=float16 on a CPU: convolutions would train about a thousand times slower than in bfloat16, "
            "because torch has only a reference kernel for their backward pass; set half_dtype=auto"
        )
    return torch.bfloat16


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device computes in bfloat16, and does not emulate it."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def reset_peak_bytes(device: torch.device) -> None:
    """Begin to look for the most device memory in use anew. That of the host cannot be reset."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def use_float32(precision: Literal["ieee", "tf32"]) -> None:
    """From now on and in this process: what CUDA multiplies float32 matrices and convolutions in.

    torch's own defaults differ: TF32 for convolutions, float32 for matrices. Set by the older of torch's two switches,
    since torch 2.13 refuses to read either of them once the newer one has set them apart.
    """
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"


def peak_bytes(device: torch.device) -> torch.Tensor:
    """The most bytes that this process had in use so far: of the host, and of the device since its statistics were
    last reset (0 on a CPU)."""
    host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return torch.tensor([host, torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0])
