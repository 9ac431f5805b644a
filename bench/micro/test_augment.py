"""An epoch of augmentation: crop, flip and cutout drawn and applied to 50,000 CIFAR-sized images."""

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from pipelines.data.resident import ResidentLoader
from pipelines.recipe.training import Augment

IMAGES = 50_000
AUGMENTATIONS = {
    "order_only": Augment(),
    "crop": Augment(crop=4),
    "crop_flip": Augment(crop=4, flip="random"),
    "crop_flip_cutout": Augment(crop=4, flip="random", cutout=8),
}


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_epoch(benchmark: BenchmarkFixture, name: str) -> None:
    augment, dtype = AUGMENTATIONS[name], torch.bfloat16
    side = 32 + 2 * augment.crop
    loader = ResidentLoader(
        torch.zeros(IMAGES, side, side, 3, dtype=dtype),
        torch.zeros(IMAGES, dtype=torch.int64),
        augment,
        batch_size=512,
        drop_last=False,
        channels_last=True,
        order_generator=torch.Generator().manual_seed(0),
        augment_generator=torch.Generator().manual_seed(1),
    )
    benchmark.pedantic(loader.epoch, args=(0,), rounds=5, warmup_rounds=1)
    seconds = benchmark.stats.stats.median
    benchmark.extra_info["images_per_second"] = round(IMAGES / seconds)
    benchmark.extra_info["GB_written_per_second"] = round(IMAGES * 3072 * dtype.itemsize / seconds / 1e9, 2)
