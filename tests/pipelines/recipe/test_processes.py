"""How many processes can train a recipe."""

import pytest

from pipelines import recipe
from pipelines.recipe import processes

PIPELINE = ["parallel.strategy=pipeline", "accumulation=4"]


def quick(*overrides):
    return recipe.load("digits/quick", list(overrides))


@pytest.mark.parametrize(
    ("overrides", "size", "parts"),
    [
        ([], 1, 1),
        ([], 4, 4),
        (["parallel.strategy=fsdp2", "parallel.size=2"], 4, 4),
        (PIPELINE, 3, 1),
        ([*PIPELINE, "parallel.size=2"], 4, 2),
        (["parallel.strategy=tensor", "parallel.sync_gradients=false"], 2, 2),
    ],
)
def test_processes_that_share_a_network_train_on_the_same_images(overrides, size, parts):
    assert processes.copies(quick(*overrides), size) == parts
    processes.check(quick(*overrides), size)


@pytest.mark.parametrize(
    ("overrides", "size", "message"),
    [
        ([], 3, "batch_size=64 cannot be shared equally by 3 processes; set batch_size=63"),
        (["accumulation=5"], 1, "accumulation=5 does not divide the 64 images"),
        (["accumulation=64"], 2, "accumulation=64 does not divide the 32 images"),
        (["parallel.strategy=fsdp2", "parallel.size=2"], 3, "parallel.size=2 does not divide 3 processes"),
        ([*PIPELINE, "batch_size=66", "parallel.size=2"], 4, "accumulation=4 does not divide the 33 images"),
        (["parallel.strategy=pipeline", "accumulation=2"], 4, "1f1b needs as many micro-batches as stages, 4, and"),
        (["techniques.linear_probe={}"], 2, "techniques.linear_probe trains in one process, and there are 2"),
    ],
)
def test_what_so_many_processes_cannot_train_is_refused(overrides, size, message):
    with pytest.raises(ValueError, match=message):
        processes.check(quick(*overrides), size)
