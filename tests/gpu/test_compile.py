"""torch.compile: whole graphs, all of them made in the warm-up."""

import pytest
import torch

from pipelines import recipe as recipes
from pipelines.distributed.process_group import World
from pipelines.train import run_trial, set_up
from pipelines.warmup import warm_up
from tests.gpu.trials import CUDA, dataset_for, graph_breaks, graphs

pytestmark = pytest.mark.gpu

RECIPES = ("cifar10/davidnet-10", "cifar10/airbench94-muon", "cifar10/hiverge", "mnist/base")


@pytest.mark.parametrize("name", RECIPES)
def test_no_graph_is_cut_or_made_after_the_warm_up(name):
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    recipe = recipes.load(name, ["epochs=2", "compile=true"])
    setup = set_up(recipe, dataset_for(recipe), World(0, 1, CUDA))
    warm_up(setup)
    made = graphs()
    run_trial(setup, 0)
    assert made > 0
    assert graphs() == made
    assert graph_breaks() == {}
