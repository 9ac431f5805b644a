"""An epoch through each loader alone: crop, flip and cutout of CIFAR-sized images, batches of 512, nothing trained."""

import warnings
from collections import deque

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from bench.micro.measuring import DEVICE, synchronize
from bench.micro.noise import noise
from pipelines.data.loader import LoaderContext
from pipelines.data.loaders import make_loader
from pipelines.distributed.process_group import World
from pipelines.recipe import load

IMAGES = 10_240
PER_IMAGE = "{name: torchvision, workers: %d, preprocess: %s, choices: %s}"
LOADERS = {
    "resident": "{name: resident}",
    "bulk": "{name: bulk}",
    "dali": "{name: dali, threads: 1}",
    "no_workers": PER_IMAGE % (0, "once", "bulk"),
    "choices_in_bulk": PER_IMAGE % (2, "once", "bulk"),
    "preprocess_once": PER_IMAGE % (2, "once", "per_sample"),
    "as_most_write_it": PER_IMAGE % (2, "per_sample", "per_sample"),
}
"""named as the steps of the ladder, the slowest last; two workers instead of the entry's 16"""


@pytest.mark.parametrize("name", LOADERS)
def test_epoch(benchmark: BenchmarkFixture, name: str) -> None:
    recipe = load("cifar10/ladder/07-cutout", ["precision=float32", f"loader={LOADERS[name]}"])
    if recipe.loader.package:
        pytest.importorskip(recipe.loader.package)
    loader = make_loader(
        LoaderContext(recipe, noise(IMAGES), World(device=DEVICE), torch.float32, order_seed=0, augment_seed=1)
    )
    loader.transfer()
    loader.preprocess()

    def epoch() -> None:
        deque(loader.epoch(0), maxlen=0)
        synchronize()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # more workers than cores
        benchmark.pedantic(epoch, rounds=5, warmup_rounds=1)
    loader.close()
    benchmark.extra_info["images_per_second"] = round(IMAGES / benchmark.stats.stats.median)
