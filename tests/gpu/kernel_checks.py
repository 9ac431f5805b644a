"""Fast kernels against their definitions in float64, on any device that runs them."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from kernels import augment, ghost_batch_norm, label_smoothing_cross_entropy, pooled_ghost_batch_norm, whiten
from kernels.grouping import Grouping

TOLERANCE = {torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 6e-2}
"""of the largest value: rounding once, and sums in another order"""
LAYOUTS = (torch.channels_last, torch.contiguous_format)


def draw(shape: tuple[int, ...], device: torch.device, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(device)


def difference(result: Tensor, expected: Tensor) -> float:
    """The largest, as a share of the largest value or of 1."""
    result, expected = result.detach(), expected.detach()
    return float((result.double() - expected.double()).abs().max() / expected.double().abs().max().clamp(min=1))


def norm(
    shape: tuple[int, ...],
    group_size: int,
    activation: str | None,
    dtype: torch.dtype,
    layout: torch.memory_format,
    device: torch.device,
    *,
    is_pooled: bool,
) -> float:
    """Ghost norm, forward and backward: the largest difference of outputs, statistics and gradients."""
    kernel = pooled_ghost_batch_norm if is_pooled else ghost_batch_norm
    version = kernel.pooled_and_fused if is_pooled else kernel.fused
    images = (3 * draw(shape, device) + 1).to(dtype).to(memory_format=layout)
    scale, bias = draw(shape[1:2], device, 1), draw(shape[1:2], device, 2)
    grouping = Grouping(group_size, 0.5, 1e-2, activation, 0.3)

    def run(function: Callable[..., Tensor], images: Tensor, scale: Tensor, bias: Tensor) -> list[Tensor]:
        leaves = [tensor.detach().clone().requires_grad_() for tensor in (images, scale, bias)]
        running = [torch.zeros_like(scale), torch.ones_like(scale)]
        output = function(*leaves, *running, grouping)
        seen = draw(tuple(output.shape), device, 3).to(output.dtype).to(memory_format=layout)
        return [output, *running, *torch.autograd.grad(output, leaves, seen)]

    results = run(version, images, scale, bias)
    expected = run(kernel.reference, images.double(), scale.double(), bias.double())
    assert results[0].is_contiguous(memory_format=layout)
    assert results[0].dtype == dtype
    return max(map(difference, results, expected))


def loss(rows: int, classes: int, smoothing: float, dtype: torch.dtype, device: torch.device) -> float:
    """Smoothed cross-entropy and its gradient."""
    labels = (torch.arange(rows) % classes).to(device)
    found = []
    for function, kind in (
        (label_smoothing_cross_entropy.fused, dtype),
        (label_smoothing_cross_entropy.reference, torch.float32),
    ):
        logits = draw((rows, classes), device).to(dtype).to(kind).requires_grad_()
        value = function(logits, labels, smoothing, "mean")
        found.append((value, torch.autograd.grad(value, logits)[0] * rows))
    return max(map(difference, *found))


def gather(count: int, crop: int, dtype: torch.dtype, device: torch.device, side: int = 32) -> float:
    """Crop, mirror, jitter and cutout of 32 x 32 pixels, resized to so many."""
    generator = torch.Generator().manual_seed(0)
    integers = partial(torch.randint, size=(count,), generator=generator)
    padded = draw((count, 32 + 2 * crop, 32 + 2 * crop, 3), device).to(dtype)
    drawn = {name: integers(2 * crop + 1).to(device) for name in ("top", "left")}
    drawn |= {name: integers(25).to(device) for name in ("cutout_top", "cutout_left")}
    drawn |= {name: torch.rand(count, generator=generator).to(device) for name in ("shift", "scale")}
    choices = augment.Choices(**drawn, flip=integers(2).bool().to(device), cutout=8)
    order, outputs = torch.randperm(count, generator=generator).to(device), []
    for version in (augment.gathered, augment.reference):
        outputs.append(padded.new_empty(count, side, side, 3))
        version(padded, order, outputs[-1], choices, (32, 32))
    return difference(*outputs)


def covariance(count: int, kernel_size: int, device: torch.device) -> float:
    """Of patches, without and from the patches."""
    images = draw((count, 32, 32, 3), device).permute(0, 3, 1, 2)
    return difference(whiten.without_patches(images, kernel_size), whiten.reference(images, kernel_size))
