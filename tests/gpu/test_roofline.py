"""The kernels of a step are attributed to its operations."""

import pytest

from pipelines import recipe as recipes
from pipelines.distributed.process_group import World
from pipelines.probes.roofline import UNNAMED, examine
from tests.gpu.trials import CUDA, dataset_for

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("name", ["cifar10/airbench94", "mnist/base"])
def test_every_part_has_device_time(name):
    recipe = recipes.load(name, ["compile=false", "kernels=reference"])
    parts = examine(recipe, dataset_for(recipe), World(0, 1, CUDA)).parts
    named = {part: one for part, one in parts.items() if part != UNNAMED}
    assert all(one.seconds > 0 for one in named.values())
    assert parts[UNNAMED].seconds < 0.1 * sum(one.seconds for one in named.values())
