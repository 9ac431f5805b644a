"""Each kernel beside its definition, on CUDA also beside torch.compile of it.

`GB` is what has to be read and written at least, `copy_share` how fast that is beside a copy of as much in the same
run.
"""

import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from kernels import augment, ghost_batch_norm, label_smoothing_cross_entropy, whiten

IS_CUDA = torch.cuda.is_available()
DEVICE = "cuda" if IS_CUDA else "cpu"
CALLS = 20 if IS_CUDA else 1
"""between two synchronisations, which would else be part of what is measured"""
ROUNDS = 20 if IS_CUDA else 5
HALF = torch.float16 if IS_CUDA else torch.bfloat16

on_cuda = pytest.mark.skipif(not IS_CUDA, reason="for CUDA")


def versions(module: Any, *plain: str, triton: str | None = None) -> list:
    """Versions of a kernel by name: its definition, other plain ones, and what is for CUDA alone."""
    cases = [pytest.param(getattr(module, name), id=name) for name in ("reference", *plain)]
    compiled = torch.compile(module.reference, dynamic=False)
    cases.append(pytest.param(compiled, id="compiled", marks=on_cuda))
    if triton:
        cases.append(pytest.param(getattr(module, triton), id=triton, marks=on_cuda))
    return cases


def several(function: Callable[[], Any]) -> None:
    for _ in range(CALLS):
        function()
    if IS_CUDA:
        torch.cuda.synchronize()


def copy_bandwidth(size: int) -> float:
    """Bytes read and written a second by a copy of so many bytes."""
    source = torch.ones(size // 2, dtype=torch.uint8, device=DEVICE)
    target = torch.empty_like(source)
    seconds = []
    for _ in range(ROUNDS + 1):
        several(partial(target.copy_, source))
        started = time.perf_counter()
        several(partial(target.copy_, source))
        seconds.append(time.perf_counter() - started)
    return 2 * len(source) * CALLS / median(seconds)


def measure(benchmark: BenchmarkFixture, function: Callable[[], Any], moved: int) -> None:
    """`moved`: bytes that the operation has to read and write at least."""
    copy = copy_bandwidth(moved)
    benchmark.pedantic(several, args=(function,), rounds=ROUNDS, warmup_rounds=2)
    seconds = benchmark.stats.stats.median / CALLS
    benchmark.extra_info |= {
        "device": torch.cuda.get_device_name() if IS_CUDA else "cpu",
        "calls": CALLS,
        "seconds_per_call": seconds,
        "GB": round(moved / 1e9, 6),
        "copy_share": round(moved / seconds / copy, 4),
    }


def forward_and_backward(function: Callable[..., Tensor], leaves: list[Tensor], seen: Tensor | None = None) -> None:
    torch.autograd.grad(function(*leaves), leaves, seen)


@pytest.mark.parametrize("activation", [None, "celu", "gelu"])
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
        return version(*leaves, mean, variance, 32, 0.1, 1e-5, activation, 0.3)

    measure(benchmark, partial(forward_and_backward, run, leaves, seen), 5 * images.nbytes)


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
@pytest.mark.parametrize("version", versions(augment, triton="gathered"))
def test_augment(benchmark: BenchmarkFixture, version: Callable[..., None], count: int, jitter: bool) -> None:
    """Crop, flip and cutout of 32 x 32 pixels, with and without brightness and contrast: pixels in and pixels out."""
    padded = torch.zeros(count, 40, 40, 3, dtype=HALF, device=DEVICE)
    out = torch.empty(count, 32, 32, 3, dtype=HALF, device=DEVICE)
    top, left = (torch.randint(9, (count,), device=DEVICE) for _ in range(2))
    choices = {"flip": torch.randint(2, (count,), device=DEVICE).bool(), "cutout": 8}
    choices |= {name: torch.randint(25, (count,), device=DEVICE) for name in ("cutout_top", "cutout_left")}
    choices |= {name: torch.rand(count, device=DEVICE) for name in ("shift", "scale") if jitter}
    order = torch.randperm(count, device=DEVICE)
    measure(benchmark, partial(version, padded, order, out, top, left, **choices), 2 * out.nbytes)


@pytest.mark.parametrize("kernel_size", [2, 3])
@pytest.mark.parametrize("count", [2000, 10_000])
@pytest.mark.parametrize("version", versions(whiten, "without_patches"))
def test_patch_covariance(
    benchmark: BenchmarkFixture, version: Callable[..., Tensor], count: int, kernel_size: int
) -> None:
    """Of images whose channels come last, as a whitening layer is fitted: the images, once."""
    images = torch.randn(count, 32, 32, 3, device=DEVICE).permute(0, 3, 1, 2)
    measure(benchmark, partial(version, images, kernel_size), images.nbytes)
