"""Each kernel beside its definition, on CUDA also beside torch.compile of it (`--compiled`: on a CPU too)."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from bench.micro.measuring import DEVICE, HALF, forward_and_backward, measure, versions
from kernels import augment, ghost_batch_norm, label_smoothing_cross_entropy, pooled_ghost_batch_norm, whiten
from kernels.grouping import Grouping
from kernels.orthogonalize import orthogonalize


@pytest.mark.parametrize("activation", ["celu", "gelu"])
@pytest.mark.parametrize(("channels", "side"), [(64, 32), (256, 8), (512, 4)])
@pytest.mark.parametrize("version", versions(ghost_batch_norm, "vectorized", triton="fused"))
def test_ghost_batch_norm(
    benchmark: BenchmarkFixture, version: Callable[..., Tensor], channels: int, side: int, activation: str | None
) -> None:
    """Forward and backward, 512 images in groups of 32: images, gradients and results, five times the images."""
    shape = (512, channels, side, side)
    images, seen = (torch.randn(shape, device=DEVICE).to(HALF).to(memory_format=torch.channels_last) for _ in range(2))
    scale, bias, mean, variance = (torch.ones(channels, device=DEVICE) for _ in range(4))
    leaves = [tensor.requires_grad_() for tensor in (images, scale, bias)]

    def run(*leaves: Tensor) -> Tensor:
        return version(*leaves, mean, variance, Grouping(32, 0.1, 1e-5, activation, 0.3))

    measure(benchmark, partial(forward_and_backward, run, leaves, seen), 5 * images.nbytes)


@pytest.mark.parametrize(("channels", "side"), [(128, 32), (256, 16), (512, 8)])
@pytest.mark.parametrize("version", versions(pooled_ghost_batch_norm, triton="pooled_and_fused"))
def test_pooled_ghost_batch_norm(
    benchmark: BenchmarkFixture, version: Callable[..., Tensor], channels: int, side: int
) -> None:
    """The same with the pool before it, as in DavidNet's three stages: images and their gradient, and, a quarter as
    large, results and gradients."""
    shape = (512, channels, side, side)
    images = torch.randn(shape, device=DEVICE).to(HALF).to(memory_format=torch.channels_last)
    seen = images[:, :, ::2, ::2].contiguous(memory_format=torch.channels_last)
    scale, bias, mean, variance = (torch.ones(channels, device=DEVICE) for _ in range(4))
    leaves = [tensor.requires_grad_() for tensor in (images, scale, bias)]

    def run(*leaves: Tensor) -> Tensor:
        return version(*leaves, mean, variance, Grouping(32, 0.1, 1e-5, "celu", 0.075))

    measure(benchmark, partial(forward_and_backward, run, leaves, seen), 2 * images.nbytes + 2 * seen.nbytes)


@pytest.mark.parametrize("classes", [10, 100])
@pytest.mark.parametrize("rows", [512, 2000, 100_000])
@pytest.mark.parametrize("version", versions(label_smoothing_cross_entropy, triton="fused"))
def test_label_smoothing_cross_entropy(
    benchmark: BenchmarkFixture, version: Callable[..., Tensor], rows: int, classes: int
) -> None:
    """Forward and backward: logits and their gradient."""
    logits = torch.randn(rows, classes, device=DEVICE).to(HALF).requires_grad_()
    labels = torch.randint(classes, (rows,), device=DEVICE)
    run = partial(version, labels=labels, smoothing=0.2, reduction="sum")
    measure(benchmark, partial(forward_and_backward, run, [logits]), 2 * logits.nbytes)


@pytest.mark.parametrize("jitter", [False, True])
@pytest.mark.parametrize("count", [2000, 50_000])
@pytest.mark.parametrize("version", versions(augment, cpu="by_rows", triton="gathered"))
def test_augment(benchmark: BenchmarkFixture, version: Callable[..., None], count: int, jitter: bool) -> None:
    """Crop, flip and cutout of 32 x 32 pixels, with and without brightness and contrast: pixels in and pixels out."""
    padded = torch.zeros(count, 40, 40, 3, dtype=HALF, device=DEVICE)
    out = torch.empty(count, 32, 32, 3, dtype=HALF, device=DEVICE)
    top, left = (torch.randint(9, (count,), device=DEVICE) for _ in range(2))
    chosen = {"flip": torch.randint(2, (count,), device=DEVICE).bool(), "cutout": 8}
    chosen |= {name: torch.randint(25, (count,), device=DEVICE) for name in ("cutout_top", "cutout_left")}
    chosen |= {name: torch.rand(count, device=DEVICE) for name in ("shift", "scale") if jitter}
    order = torch.randperm(count, device=DEVICE)
    choices = augment.Choices(top, left, **chosen)
    measure(benchmark, partial(version, padded, order, out, choices, (32, 32)), 2 * out.nbytes)


@pytest.mark.parametrize("kernel_size", [2, 3])
@pytest.mark.parametrize("count", [2000, 10_000])
@pytest.mark.parametrize("version", versions(whiten, "without_patches"))
def test_patch_covariance(
    benchmark: BenchmarkFixture, version: Callable[..., Tensor], count: int, kernel_size: int
) -> None:
    """Of images whose channels come last, as a whitening layer is fitted: the images, once."""
    images = torch.randn(count, 32, 32, 3, device=DEVICE).permute(0, 3, 1, 2)
    size, patches = 3 * kernel_size**2, count * (33 - kernel_size) ** 2
    run = partial(version, images, kernel_size)
    measure(benchmark, run, images.nbytes, flop=2 * patches * size**2, dtype=torch.float32)


@pytest.mark.parametrize(("count", "rows", "columns"), [(1, 64, 576), (1, 256, 576), (3, 256, 2304)])
def test_orthogonalize(benchmark: BenchmarkFixture, count: int, rows: int, columns: int) -> None:
    """Filters of AirNet in batches by shape, three steps of three matrix products each."""
    matrices = torch.randn(count, rows, columns, device=DEVICE)
    flop = 3 * count * 2 * rows**2 * (2 * columns + rows)
    measure(benchmark, partial(orthogonalize, list(matrices)), matrices.nbytes + matrices.nbytes // 2, flop)
