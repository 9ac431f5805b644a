"""What is fast against what it is compared with, interleaved: `ratio` is how many times as fast it is."""

from collections import deque
from functools import partial

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from bench.micro.measuring import DEVICE, HALF, IS_CUDA, forward_and_backward, interleaved
from bench.micro.noise import noise
from kernels import choice, ghost_batch_norm, pooled_ghost_batch_norm, whiten
from kernels.augment import Choices, augment
from kernels.grouping import Grouping
from kernels.orthogonalize import orthogonalize
from pipelines import models
from pipelines.data.loader import LoaderContext
from pipelines.data.loaders import make_loader
from pipelines.distributed.process_group import World
from pipelines.recipe import load
from pipelines.techniques.ema import update

IMAGES = 10_240
NORM = Grouping(size=32, momentum=0.1, eps=1e-5, activation="celu", alpha=0.075)
"""as in DavidNet"""


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "_version", "fast")


def filters(recipe: str) -> list[Tensor]:
    """Weights of the shapes that a recipe's convolutions have, flattened."""
    with torch.device("meta"):
        network = models.build_network(load(recipe).model, (3, 32, 32), 10)
    convolutions = [module for module in network.modules() if isinstance(module, torch.nn.Conv2d)]
    return [torch.randn(len(one.weight), one.weight[0].numel(), device=DEVICE) for one in convolutions[1:]]


def test_augment_over_torchvision(benchmark: BenchmarkFixture) -> None:
    """An epoch of crop, flip and cutout from images that are preprocessed: v2 image by image, in a DataLoader with two
    workers, and in bulk."""
    epochs = {}
    for name in ("{name: torchvision, workers: 2, preprocess: once}", "{name: resident}"):
        recipe = load("cifar10/ladder/07-cutout", ["precision=float32", f"loader={name}"])
        loader = make_loader(
            LoaderContext(recipe, noise(IMAGES), World(device=DEVICE), torch.float32, order_seed=0, augment_seed=1)
        )
        loader.transfer()
        loader.preprocess()
        epochs[name] = loader
    v2, bulk = epochs.values()
    interleaved(
        benchmark,
        torchvision=lambda: deque(v2.epoch(0), maxlen=0),
        augment=lambda: deque(bulk.epoch(0), maxlen=0),
    )
    v2.close()


@pytest.mark.parametrize("count", [2000, 50_000])
def test_gather_over_augment(benchmark: BenchmarkFixture, count: int) -> None:
    """A gather of the same bytes, without anything done to them, beside crop, flip and cutout."""
    padded = torch.randn(count, 40, 40, 3, device=DEVICE).to(HALF)
    images = padded[:, :32, :32].contiguous()
    out = torch.empty_like(images)
    order = torch.randperm(count, device=DEVICE)
    top, left = (torch.randint(9, (count,), device=DEVICE) for _ in range(2))
    chosen = {"flip": torch.randint(2, (count,), device=DEVICE).bool(), "cutout": 8}
    chosen |= {name: torch.randint(25, (count,), device=DEVICE) for name in ("cutout_top", "cutout_left")}
    interleaved(
        benchmark,
        gather=partial(torch.index_select, images, 0, order, out=out),
        augment=partial(augment, padded, order, out, Choices(top, left, **chosen)),
    )


def norm_arguments(channels: int, side: int) -> list[Tensor]:
    """Images, scale and bias."""
    images = torch.randn(512, channels, side, side, device=DEVICE).to(HALF).to(memory_format=torch.channels_last)
    return [tensor.requires_grad_() for tensor in (images, *torch.ones(2, channels, device=DEVICE))]


@pytest.mark.parametrize(("channels", "side"), [(64, 32), (256, 8), (512, 4)])
@pytest.mark.parametrize("plain", ["vectorized", "reference"])
def test_ghost_batch_norm_over_plain(benchmark: BenchmarkFixture, plain: str, channels: int, side: int) -> None:
    """Forward and backward, beside one batch norm for all groups side by side, as most write it, and beside one for
    each group, which is what is fast on a CPU and has a ratio of 1 there."""
    leaves, running = norm_arguments(channels, side), torch.ones(2, channels, device=DEVICE)
    seen = torch.randn_like(leaves[0])
    functions = (getattr(ghost_batch_norm, plain), ghost_batch_norm.ghost_batch_norm)
    plain, fast = (lambda *leaves, function=function: function(*leaves, *running, NORM) for function in functions)
    interleaved(
        benchmark,
        plain=partial(forward_and_backward, plain, leaves, seen),
        fast=partial(forward_and_backward, fast, leaves, seen),
    )


@pytest.mark.skipif(not IS_CUDA, reason="on a CPU the definition is what runs")
@pytest.mark.parametrize(("channels", "side"), [(128, 32), (256, 16), (512, 8)])
def test_pooled_ghost_batch_norm_over_composed(benchmark: BenchmarkFixture, channels: int, side: int) -> None:
    """The pool in the passes of the norm beside the pool on its own."""
    leaves, running = norm_arguments(channels, side), torch.ones(2, channels, device=DEVICE)
    seen = leaves[0].detach()[:, :, ::2, ::2].contiguous(memory_format=torch.channels_last)
    functions = (pooled_ghost_batch_norm.composed, pooled_ghost_batch_norm.pooled_ghost_batch_norm)
    composed, fast = (lambda *leaves, function=function: function(*leaves, *running, NORM) for function in functions)
    interleaved(
        benchmark,
        composed=partial(forward_and_backward, composed, leaves, seen),
        fast=partial(forward_and_backward, fast, leaves, seen),
    )


def test_orthogonalize_one_by_one_over_batched(benchmark: BenchmarkFixture) -> None:
    """All filters of airbench94-muon, for one step of Muon."""
    matrices = filters("cifar10/airbench94-muon")

    def one_by_one() -> list[Tensor]:
        return [orthogonalize([matrix])[0] for matrix in matrices]

    interleaved(benchmark, rounds=20, one_by_one=one_by_one, batched=partial(orthogonalize, matrices))


@pytest.mark.parametrize(("count", "kernel_size"), [(5000, 2), (10_000, 3)])
def test_patch_covariance_over_patches(benchmark: BenchmarkFixture, count: int, kernel_size: int) -> None:
    """Of as many images and as large patches as AirNet and DavidNet whiten."""
    images = torch.randn(count, 32, 32, 3, device=DEVICE).permute(0, 3, 1, 2)
    interleaved(
        benchmark,
        patches=partial(whiten.reference, images, kernel_size),
        fast=partial(whiten.patch_covariance, images, kernel_size),
    )


def test_ema_one_by_one_over_multi_tensor(benchmark: BenchmarkFixture) -> None:
    """Of DavidNet's filters, by torch's multi-tensor operations."""
    current = filters("cifar10/davidnet-10")
    average = [tensor.clone() for tensor in current]

    def one_by_one() -> None:
        for mine, new in zip(average, current, strict=True):
            mine.mul_(0.99).add_(new, alpha=0.01)

    interleaved(benchmark, rounds=20, one_by_one=one_by_one, multi_tensor=partial(update, average, current, 0.99))


@pytest.mark.parametrize("rival", ["foreach", "loop"])
def test_sgd_over_fused(benchmark: BenchmarkFixture, rival: str) -> None:
    """Nesterov on DavidNet's filters, by torch's own fused SGD, which is what recipes get."""
    steps = {}
    for name, options in {rival: {"foreach": rival == "foreach"}, "fused": {"fused": True}}.items():
        parameters = filters("cifar10/davidnet-10")
        for parameter in parameters:
            parameter.requires_grad_().grad = torch.randn_like(parameter)
        steps[name] = torch.optim.SGD(parameters, lr=1e-3, momentum=0.9, nesterov=True, **options).step
    interleaved(benchmark, rounds=20, **steps)
