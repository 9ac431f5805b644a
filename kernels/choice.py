"""Which version of a kernel runs: its definition, or a faster one for the tensors at hand."""

from typing import Literal

import torch
from torch import Tensor

from kernels.triton_import import triton

Version = Literal["auto", "reference", "fast"]

_version: Version = "auto"
_ran: set[str] = set()

FASTEST: dict[str, frozenset[str]] = {
    # measured: bench/micro/README.md. A ghost norm's definition is the fastest there
    "cpu": frozenset({"augment", "convolution_chain", "patch_covariance"}),
    # by kernel launches and passes over memory, not yet measured
    "cuda": frozenset(
        {"augment", "ghost_batch_norm", "label_smoothing_cross_entropy", "patch_covariance", "pooled_ghost_batch_norm"}
    ),
}
"""By type of device, the operations of which `auto` runs a faster version than the definition."""

TRITON_DTYPES = (torch.float32, torch.float16, torch.bfloat16)
"""what the Triton versions read and write; they compute in float32"""


def use(version: Version) -> None:
    """From now on and in this process: `reference`, the definitions; `fast`, the faster versions that the device has;
    `auto`, those of them that are in `FASTEST` and need no compiling here."""
    global _version
    _version = version
    _ran.clear()


def may_compile() -> bool:
    """Whether a version that this machine has not compiled yet is to be compiled."""
    return _version == "fast"


def note(version: str) -> None:
    """Note that a version ran that this machine has compiled, such as `convolution_chain: avx2_winograd_4x4`."""
    _ran.add(version)


def ran() -> tuple[str, ...]:
    """The versions that were noted since the last `use`, sorted."""
    return tuple(sorted(_ran))


def is_wanted(operation: str, tensor: Tensor) -> bool:
    """Whether a faster version of the operation may run on the tensor's device."""
    return _version == "fast" or (_version == "auto" and operation in FASTEST.get(tensor.device.type, ()))


def is_for_triton(operation: str, tensor: Tensor) -> bool:
    """Whether a Triton version may run: the tensor is on CUDA in one of `TRITON_DTYPES`, 32 bits count its elements,
    and nobody is compiling, since torch.compile fuses PyTorch's operations by itself."""
    return (
        triton is not None
        and tensor.is_cuda
        and is_wanted(operation, tensor)
        and tensor.dtype in TRITON_DTYPES
        and 0 < tensor.numel() < 2**31
        and not torch.compiler.is_compiling()
    )
