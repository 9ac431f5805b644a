"""Trainings come out as they did before: losses and accuracies of recorded trials.

The values are of one thread on a CPU with AVX2, in float32. Another number of threads, or another CPU, rounds sums in
another way, which a training amplifies from step to step: the first epoch is held to 1e-4, later ones to what two
threads differ by and more.
"""

import pytest
import torch

from pipelines import recipe
from pipelines.data import sources, split
from pipelines.distributed.process_group import World
from pipelines.train import run_trial, set_up
from tests.pipelines.processes import in_processes

SEED = 3


def trained(world, chosen):
    """Losses, accuracies and the norm of the trained weights."""
    dataset = split.select(sources.load(chosen.data.name, sources.default_folder(), download=False), chosen.data)
    setup = set_up(chosen, dataset, world)
    trial = run_trial(setup, SEED)
    trained = [parameter.detach().double() for parameter in setup.network.parameters() if parameter.requires_grad]
    norm = torch.cat([parameter.flatten() for parameter in trained]).norm().item()
    return [result.train_loss for result in trial.epochs], [result.accuracy for result in trial.epochs], norm


def check(found, losses, accuracies, norm):
    assert found[0][0] == pytest.approx(losses[0], rel=1e-4)
    assert found[0] == pytest.approx(losses, rel=0.1)
    assert found[1][0] == pytest.approx(accuracies[0], abs=0.004)
    assert found[1] == pytest.approx(accuracies, abs=0.05)
    assert found[2] == pytest.approx(norm, rel=0.02)


def has(name):
    missing = sources.source(name).find(sources.default_folder()) is None
    return pytest.mark.skipif(missing, reason=f"{name} is not there: PACELINE_DATA names the folder of the data sets")


def test_digits_quick():
    losses, accuracies = [2.200173, 1.373029, 0.669336, 0.295045], [0.6194, 0.7278, 0.9528, 0.95]
    check(trained(World(), recipe.load("digits/quick", ["epochs=4"])), losses, accuracies, 11.6123)


@pytest.mark.slow
@has("mnist")
def test_mnist_base():
    losses, accuracies = [0.420305, 0.126455, 0.089826], [0.9384, 0.9652, 0.9593]
    check(trained(World(), recipe.load("mnist/base", ["epochs=3"])), losses, accuracies, 13.1533)


@pytest.mark.slow
@has("cifar10")
def test_a_little_of_davidnet_10():
    few = ["data.limit=256", "batch_size=64", "epochs=2"]
    chosen = recipe.load("cifar10/davidnet-10", ["precision=float32", *few])
    check(trained(World(), chosen), [2.313154, 2.291121], [0.1211, 0.1055], 28.1339)


@pytest.mark.slow
def test_two_processes(tmp_path):
    for found in in_processes(tmp_path, trained, recipe.load("digits/quick", ["epochs=3"])):
        check(found, [2.200173, 1.373029, 0.669336], [0.6194, 0.7278, 0.9528], 10.0618)
