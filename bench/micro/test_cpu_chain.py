"""Blocks of convolution, pool, norm and activation in C++ on a CPU, beside their definition and, with `--compiled`,
beside torch.compile of it.

`ratio` is the seconds of the C++ version over those of the other, measured interleaved. The other computes in bfloat16,
and in float32 on a CPU that would emulate bfloat16.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from bench.micro.measuring import forward_and_backward, interleaved, on_a_cpu
from bench.micro.noise import noise
from kernels import choice
from kernels.cpu import build, chain
from kernels.cpu.blocks import Block, Whitening
from pipelines.distributed.process_group import World
from pipelines.host.devices import has_bfloat16
from pipelines.losses import make_loss
from pipelines.optim.optimizers import make_optimizer
from pipelines.recipe import load
from pipelines.train import set_up

pytestmark = [on_a_cpu, pytest.mark.skipif(not build.is_possible(), reason="needs a CPU with AVX2")]
IMAGES = 256
PYTORCH = torch.bfloat16 if has_bfloat16(torch.device("cpu")) else torch.float32
"""what all versions but the C++ compute in"""

beside = pytest.mark.parametrize("other", ["reference", pytest.param("compiled", marks=pytest.mark.compiled)])


def _dtype(version: str) -> torch.dtype:
    return torch.bfloat16 if version in ("fused", "fast") else PYTORCH


def _version(name: str) -> Callable[..., Tensor]:
    return torch.compile(chain.reference, dynamic=False) if name == "compiled" else getattr(chain, name)


def _block(inputs: int, outputs: int, pool: int, dtype: torch.dtype) -> Block:
    weight = torch.randn(outputs, inputs, 3, 3).to(dtype).to(memory_format=torch.channels_last).requires_grad_()
    scale, bias = (torch.ones(outputs, requires_grad=True) for _ in range(2))
    return Block(weight, scale, bias, torch.zeros(outputs), torch.ones(outputs), 0.1, 1e-5, "gelu", pool=pool)


def _images(channels: int, side: int, dtype: torch.dtype) -> Tensor:
    return torch.randn(IMAGES, channels, side, side).to(dtype).to(memory_format=torch.channels_last)


@beside
@pytest.mark.parametrize("direction", ["training", "evaluation"])
@pytest.mark.parametrize(
    ("inputs", "outputs", "side", "pool"),
    [(24, 64, 31, 2), (64, 64, 15, 1), (64, 256, 15, 2), (256, 256, 7, 1), (256, 256, 3, 1), (128, 256, 16, 2)],
)
def test_block(
    benchmark: BenchmarkFixture, inputs: int, outputs: int, side: int, pool: int, direction: str, other: str
) -> None:
    """One block with its conversion at both ends. Training: both passes, the images' gradient included."""

    def make(name: str) -> partial:
        dtype, version = _dtype(name), _version(name)
        images, blocks = _images(inputs, side, dtype), [_block(inputs, outputs, pool, dtype)]
        if direction == "evaluation":
            return partial(version, images, blocks, training=False)
        leaves = [images.requires_grad_(), *blocks[0][:3]]

        def run() -> None:
            output = version(images, blocks, training=True)
            torch.autograd.grad(output, leaves, torch.ones_like(output))

        return partial(run)

    with torch.set_grad_enabled(direction == "training"):
        interleaved(benchmark, **{name: make(name) for name in ("fused", other)})


@beside
def test_whitening(benchmark: BenchmarkFixture, other: str) -> None:
    """The 2x2 whitening with GELU, then a block, forward and backward with the whitening's bias."""

    def make(name: str) -> partial:
        dtype, version = _dtype(name), _version(name)
        weight, bias = torch.randn(24, 3, 2, 2).to(dtype), torch.zeros(24, dtype=dtype, requires_grad=True)
        images, blocks = _images(3, 32, dtype), [_block(24, 64, 2, dtype)]
        function = partial(version, images, blocks, Whitening(weight, bias, 0, "gelu"), training=True)
        seen = torch.ones(IMAGES, 64, 15, 15, dtype=dtype).contiguous(memory_format=torch.channels_last)
        return partial(forward_and_backward, lambda *_: function(), [bias, *blocks[0][:3]], seen)

    interleaved(benchmark, **{name: make(name) for name in ("fused", other)})


@beside
@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("cifar10/airbench94-muon", 32),
        ("cifar10/airbench96", 32),
        ("cifar10/e1", 24),
        ("cifar10/e1", 28),
        ("cifar10/e1", 32),
    ],
)
def test_step(benchmark: BenchmarkFixture, name: str, side: int, other: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole step: forward, backward and optimizer, 512 images."""
    count = 2 * IMAGES
    dataset = noise(count, 3, 32)
    labels = torch.arange(count) % 10
    monkeypatch.setattr(choice, "_version", choice._version)

    def make_step(version: choice.Version, compiled: bool = False) -> partial:
        precision = "half" if _dtype(version) == torch.bfloat16 else "float32"
        recipe = load(name, [f"batch_size={count}", f"compile={str(compiled).lower()}", f"precision={precision}"])
        loss_function, setup = make_loss(recipe.loss), set_up(recipe, dataset, World())
        images = torch.randn(count, 3, side, side).to(setup.dtype).to(memory_format=torch.channels_last)
        optimizer = make_optimizer(setup.network, recipe, local_batch_size=count, steps=1, steps_per_epoch=1)

        def step() -> None:
            choice.use(version)
            loss_function(setup.strategy.forward(images), labels).backward()
            optimizer.step(0)

        return partial(step)

    interleaved(benchmark, **{"fused": make_step("fast"), other: make_step("reference", other == "compiled")})


def test_build(benchmark: BenchmarkFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiling the kernels, once; `bytes` of the library."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    build.path.cache_clear()
    library = benchmark.pedantic(build.build, rounds=1)
    build.path.cache_clear()
    benchmark.extra_info["bytes"] = library.stat().st_size
