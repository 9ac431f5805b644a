"""The host waits for the device where it is meant to and nowhere else."""

import time

import pytest
import torch

from pipelines import recipe as recipes
from pipelines.data.resident import Epoch
from pipelines.distributed.process_group import World
from pipelines.evaluate import evaluate
from pipelines.recipe.training import Evaluation
from pipelines.train import run_trial, set_up
from tests.fake_cuda.simulate import noise, shortened
from tests.gpu.trials import CUDA, counted_waiting, dataset_for, no_waiting

pytestmark = pytest.mark.gpu

POOLS = ("fixmatch", "mean_teacher", "self_training")
"""Techniques that prepare unlabelled images in the first epoch's `augment`, or label them there."""


@pytest.mark.parametrize("name", recipes.names())
def test_no_step_waits(name):
    recipe = shortened(name, "auto")
    setup = set_up(recipe, noise(recipe), World(0, 1, CUDA))
    run_trial(setup, 0)  # tunes cuDNN, compiles Triton
    is_pooled = any(getattr(recipe.techniques, technique) for technique in POOLS)
    with no_waiting(frozenset({"train"} if is_pooled else {"train", "augment"})):
        run_trial(setup, 0)


@pytest.mark.parametrize("tta", ["none", "flip", "crops"])
@pytest.mark.parametrize("share", [1.0, 0.25])
def test_an_evaluation_waits_once(tta, share):
    images = torch.randn(300, 3, 32, 32, device=CUDA)
    labels = torch.arange(300, device=CUDA) % 10

    def forward(images):
        return images.flatten(1)[:, :10]

    options = Evaluation(tta=tta, tta_share=share, batch_size=128)
    with counted_waiting() as messages:
        evaluate(forward, images, labels, options, World(0, 1, CUDA))
    assert len(messages) == 1


def test_a_slow_loader_makes_the_device_wait(monkeypatch):
    pause, fast = 0.02, Epoch.__iter__

    def slow(self):
        for batch in fast(self):
            time.sleep(pause)
            yield batch

    recipe = recipes.load("mnist/base", ["epochs=1", "loader={name: bulk}", "techniques={loader_costs: {}}"])
    setup = set_up(recipe, dataset_for(recipe), World(0, 1, CUDA))
    run_trial(setup, 0)
    monkeypatch.setattr(Epoch, "__iter__", slow)
    trial = run_trial(setup, 0)
    assert trial.notes["loader_costs"]["waited_seconds"] > 0.5 * pause * trial.steps
