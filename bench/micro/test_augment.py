"""An epoch of augmentation: crop, flip and cutout drawn and applied to 50,000 CIFAR-sized images."""

from functools import partial

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.micro.measuring import CALLS, DEVICE, HALF, ROUNDS, several
from bench.micro.noise import noise
from pipelines.data.loader import LoaderContext
from pipelines.data.loaders import make_loader
from pipelines.distributed.process_group import World
from pipelines.recipe import load

IMAGES = 50_000
AUGMENTATIONS = {
    "order_only": "{crop: 0, flip: none, cutout: 0}",
    "crop": "{crop: 4, flip: none, cutout: 0}",
    "crop_flip": "{crop: 4, flip: random, cutout: 0}",
    "crop_flip_cutout": "{crop: 4, flip: random, cutout: 8}",
}


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_epoch(benchmark: BenchmarkFixture, name: str) -> None:
    recipe = load("cifar10/davidnet-10", [f"augment={AUGMENTATIONS[name]}", "batch_size=512", "drop_last=false"])
    loader = make_loader(LoaderContext(recipe, noise(IMAGES), World(device=DEVICE), HALF, order_seed=0, augment_seed=1))
    loader.transfer()
    loader.preprocess()
    benchmark.pedantic(several, args=(partial(loader.epoch, 0),), rounds=ROUNDS, warmup_rounds=1)
    seconds = benchmark.stats.stats.median / CALLS
    benchmark.extra_info["images_per_second"] = round(IMAGES / seconds)
    benchmark.extra_info["GB_written_per_second"] = round(IMAGES * 3072 * HALF.itemsize / seconds / 1e9, 2)
