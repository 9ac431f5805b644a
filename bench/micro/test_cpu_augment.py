"""An epoch of E1's augmentation in C++ on a CPU, beside what runs without a compiler, at each of its sizes. `ratio` is
how many times as fast it is, measured interleaved."""

from functools import partial

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from bench.micro.measuring import interleaved, on_a_cpu
from kernels import augment, choice
from kernels.cpu import build

pytestmark = [on_a_cpu, pytest.mark.skipif(not build.is_possible(), reason="needs a CPU with AVX2")]
IMAGES = 50_000


@pytest.mark.parametrize("side", [24, 28, 32])
def test_epoch(benchmark: BenchmarkFixture, monkeypatch: pytest.MonkeyPatch, side: int) -> None:
    """Crop, flip, brightness and contrast of 32 x 32 pixels, resized."""
    monkeypatch.setattr(choice, "_version", "fast")
    padded = torch.randn(IMAGES, 36, 36, 3).bfloat16()
    out = torch.empty(IMAGES, side, side, 3, dtype=torch.bfloat16)
    top, left = (torch.randint(5, (IMAGES,)) for _ in range(2))
    flip = torch.randint(2, (IMAGES,)).bool()
    choices = augment.Choices(top, left, flip, shift=torch.rand(IMAGES) - 0.5, scale=torch.rand(IMAGES) + 0.5)
    order = torch.randperm(IMAGES)
    interleaved(
        benchmark,
        by_rows=partial(augment.by_rows, padded, order, out, choices, (32, 32)),
        fused=partial(augment.fused, padded, order, out, choices, (32, 32)),
    )
