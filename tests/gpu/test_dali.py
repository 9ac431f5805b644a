"""DALI on the device."""

import pytest
import torch

from pipelines import recipe as recipes
from pipelines.data.loader import LoaderContext
from pipelines.data.loaders import make_loader
from pipelines.distributed.process_group import World
from pipelines.train import run_trial, set_up
from tests.gpu.trials import CUDA, dataset_for

pytestmark = pytest.mark.gpu
pytest.importorskip("nvidia.dali", reason="DALI is not installed")


def first_epoch(loader):
    recipe = recipes.load("cifar10/loaders/dali", ["precision=float32", f"loader={loader}", "batch_size=64"])
    made = make_loader(LoaderContext(recipe, dataset_for(recipe), World(0, 1, CUDA), torch.float32, 1, 2))
    made.transfer()
    made.preprocess()
    batches = [(images.clone(), labels.clone()) for images, labels in made.epoch(0)]
    made.close()
    return batches


def test_batches_lie_on_the_device_and_are_those_of_the_bulk_loader():
    for (images, labels), (expected, wanted) in zip(
        first_epoch("{name: dali, threads: 2}"), first_epoch("{name: bulk}"), strict=True
    ):
        assert images.device == labels.device == CUDA
        assert torch.equal(labels, wanted)
        torch.testing.assert_close(images, expected, rtol=0, atol=1e-2)


def test_a_trial_trains_with_it():
    recipe = recipes.load("cifar10/loaders/dali", ["epochs=1", "batch_size=64"])
    trial = run_trial(set_up(recipe, dataset_for(recipe), World(0, 1, CUDA)), 0)
    assert trial.outcome != "diverged"
