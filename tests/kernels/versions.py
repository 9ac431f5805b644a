"""Where the versions of a kernel are tested: on the GPU if there is one, else Triton's under its interpreter."""

import pytest
import torch

from kernels.triton_import import triton

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
HALF = {torch.float16, torch.bfloat16}
FORMATS = [torch.channels_last, torch.contiguous_format]

needs_triton = pytest.mark.skipif(triton is None, reason="Triton is not installed: pip install -e '.[triton]'")
on_a_cpu = pytest.mark.skipif(DEVICE != "cpu", reason="for a CPU")


def with_triton(version):
    """A parameter of a test that needs Triton."""
    return pytest.param(version, marks=needs_triton)


def error(result, expected):
    """The largest difference, as a share of the largest expected value or of 1."""
    difference = (result.double() - expected.double()).abs().max()
    return (difference / expected.abs().max().clamp(min=1)).item()
