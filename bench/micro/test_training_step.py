"""One training step of each network: forward, backward and optimizer, on images that lie ready."""

from functools import partial

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch.utils.flop_counter import FlopCounterMode

from bench.micro.measuring import DEVICE, measure
from bench.micro.noise import noise
from pipelines.distributed.process_group import World
from pipelines.losses import make_loss
from pipelines.optim.optimizers import make_optimizer
from pipelines.recipe import load
from pipelines.train import set_up

RECIPES = {
    "davidnet": ("cifar10/davidnet-10", (3, 32)),
    "airnet": ("cifar10/airbench94-muon", (3, 32)),
    "resnet18": ("cifar10/ladder/05-batch-512", (3, 32)),
    "convnet": ("mnist/base", (1, 28)),
}
BATCH = 128


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.compiled)])
@pytest.mark.parametrize("network", RECIPES)
def test_step(benchmark: BenchmarkFixture, network: str, compiled: bool) -> None:
    """Of the recipe's precision and optimizer, with 128 images. Moved: parameters, their gradients and the images."""
    name, size = RECIPES[network]
    recipe = load(name, [f"batch_size={BATCH}", f"compile={str(compiled).lower()}"])
    dataset = noise(BATCH, *size)
    bench = set_up(recipe, dataset, World(device=DEVICE))
    optimizer = make_optimizer(bench.network, recipe, local_batch_size=BATCH, steps=1, steps_per_epoch=1)
    loss_function = make_loss(recipe.loss)
    images = torch.randn(BATCH, *dataset.image_shape, device=DEVICE).to(bench.dtype)
    images = images.to(memory_format=torch.channels_last) if recipe.channels_last else images
    labels = torch.arange(BATCH, device=DEVICE) % 10

    def step() -> None:
        optimizer.backward(loss_function(bench.strategy.forward(images), labels))
        optimizer.step(0)

    with FlopCounterMode(display=False) as counter:
        loss_function(bench.network(images), labels).backward()
    optimizer.step(0)
    parameters = sum(parameter.nbytes for parameter in bench.network.parameters())
    measure(benchmark, partial(step), images.nbytes + 3 * parameters, counter.get_total_flops(), bench.dtype)
