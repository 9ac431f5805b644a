"""Chains of blocks to test with, and how far two results are apart."""

import pytest
import torch
from torch import Tensor

from kernels.cpu import build, fused
from kernels.cpu.blocks import Block, Whitening

needs_kernels = pytest.mark.skipif(
    not build.is_possible() or build.obstacle() is not None,
    reason="needs a CPU with AVX2, a C++ compiler and ninja",
)
MICRO_KERNELS = [
    "amx",
    "avx512_bf16_winograd_4x4",
    "avx512_bf16_direct",
    "avx2_winograd_4x4",
    "avx2_direct",
    "emulated_amx",
]


def block(inputs, outputs, kernel=3, **options):
    """A block with random weights; scale, bias and statistics are not trivial."""
    weight = torch.randn(outputs, inputs, kernel, kernel).div((inputs * kernel**2) ** 0.5).bfloat16()
    scale, bias = torch.rand(outputs) + 0.5, torch.randn(outputs) * 0.3
    mean, variance = torch.randn(outputs) * 0.1, torch.rand(outputs) + 0.5
    defaults = {"activation": "gelu"}
    return Block(weight, scale, bias, mean, variance, 0.4, 1e-5, **(defaults | options))


def whitening(outputs=24, kernel=2, padding=0, bias=True, activation="gelu"):
    weight = torch.randn(outputs, 3, kernel, kernel).div(3).bfloat16()
    return Whitening(weight, torch.randn(outputs).bfloat16() if bias else None, padding, activation)


def run(version, dtype, images, blocks, white=None, images_gradient=False, **options) -> dict[str, Tensor]:
    """Output, gradients and moved statistics by name, from copies of everything in `dtype`."""
    blocks = [
        each._replace(
            weight=each.weight.detach().to(dtype).requires_grad_(),
            **{name: getattr(each, name).clone().requires_grad_() for name in ("scale", "bias")},
            **{name: getattr(each, name).clone() for name in ("running_mean", "running_var")},
        )
        for each in blocks
    ]
    if white:
        bias = None if white.bias is None else white.bias.to(dtype).requires_grad_()
        white = white._replace(weight=white.weight.to(dtype), bias=bias)
    images = images.to(dtype).contiguous(memory_format=torch.channels_last).requires_grad_(images_gradient)
    output = version(images, blocks, white, **{"training": True} | options)
    leaves = {f"{name} {i}": getattr(b, name) for i, b in enumerate(blocks) for name in ("weight", "scale", "bias")}
    if white and white.bias is not None:
        leaves["whitening bias"] = white.bias
    if images_gradient:
        leaves["images"] = images
    seen = torch.randn(output.shape, generator=torch.Generator().manual_seed(7)).to(dtype)
    gradients = torch.autograd.grad(output, list(leaves.values()), seen)
    statistics = {
        f"{name} {i}": getattr(b, name) for i, b in enumerate(blocks) for name in ("running_mean", "running_var")
    }
    return {"output": output.detach()} | dict(zip(leaves, gradients, strict=True)) | statistics


def distance(result: Tensor, expected: Tensor) -> float:
    """Norm of the difference over the norm of what is expected."""
    result, expected = result.double(), expected.double()
    return ((result - expected).norm() / expected.norm().clamp_min(1e-9)).item()


@pytest.fixture
def micro_kernel(request):
    """Has the kernels run with the micro-kernel of the test's parameter."""
    extension = fused.extension()
    assert extension
    if request.param not in extension.supported():
        pytest.skip(f"this CPU has no {request.param}")
    extension.use(request.param)
    yield request.param
    extension.use(extension.supported()[0])
