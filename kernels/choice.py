"""Which version of a kernel runs: its definition, or, where the recipe wants that, what is fast for the tensors."""

from typing import Literal

import torch
from torch import Tensor

from kernels.triton_import import triton

Version = Literal["reference", "fast"]

_version: Version = "reference"

TRITON_DTYPES = (torch.float32, torch.float16, torch.bfloat16)
"""what the Triton versions read and write; they compute in float32"""


def use(version: Version) -> None:
    """From now on and in this process: each kernel's definition, or what is faster for the tensors at hand."""
    global _version
    _version = version


def is_wanted() -> bool:
    """Whether the faster versions may run."""
    return _version == "fast"


def is_fast(tensor: Tensor) -> bool:
    """Whether a version that is faster on CUDA alone may take this tensor."""
    return is_wanted() and tensor.is_cuda


def is_for_triton(tensor: Tensor) -> bool:
    """Whether a Triton version may: its dtype is one of `TRITON_DTYPES`, 32 bits count its elements, and nobody is
    compiling, since torch.compile fuses PyTorch's operations by itself."""
    return (
        triton is not None
        and is_fast(tensor)
        and tensor.dtype in TRITON_DTYPES
        and 0 < tensor.numel() < 2**31
        and not torch.compiler.is_compiling()
    )
