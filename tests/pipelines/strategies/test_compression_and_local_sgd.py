"""Two real processes that send less than whole gradients at every step."""

import pytest
import torch

from pipelines import recipe
from pipelines.train import run_trial, set_up
from tests.pipelines.processes import in_processes

PERIOD_1 = ["parallel.strategy=local_sgd", "parallel.local_sgd_period=1"]
START_LATE = ["parallel.strategy=local_sgd", "parallel.local_sgd_start=1000"]
PERIOD_4 = ["parallel.strategy=local_sgd", "parallel.local_sgd_start=5"]
POWER_SGD = ["parallel.compression=power_sgd", "parallel.power_sgd_start=3", "parallel.power_sgd_rank=4"]

JOBS = {
    "ddp": [],
    "fp16": ["parallel.compression=fp16"],
    "bf16": ["parallel.compression=bf16"],
    "power_sgd": POWER_SGD,
    "power_sgd of a network with more than 1 MiB": [*POWER_SGD, "model.widths=[64,512]"],
    "power_sgd that begins after the end": ["parallel.compression=power_sgd", "parallel.power_sgd_start=1000"],
    "local SGD that averages every step": PERIOD_1,
    "local SGD that begins after the end": START_LATE,
    "local SGD": PERIOD_4,
}


def trained(world, overrides, dataset):
    """The weights after two trials in a row of 20 steps, and those of the last, and its accuracy."""
    torch.set_num_threads(1)
    setup = set_up(recipe.load("digits/quick", ["epochs=0.9", "optimizer.lr=0.05", *overrides]), dataset, world)
    found = []
    for _ in range(2):
        trial = run_trial(setup, seed=5)
        found.append(torch.cat([parameter.detach().flatten() for parameter in setup.network.parameters()]).clone())
    return *found, trial.accuracy, setup.strategy.name


def all_trained(world, jobs, dataset):
    return {name: trained(world, overrides, dataset) for name, overrides in jobs.items()}


@pytest.fixture(scope="module")
def ranks(tmp_path_factory, digits):
    return in_processes(tmp_path_factory.mktemp("ranks"), all_trained, JOBS, digits)


def distance(ranks, name):
    """From the weights of DDP, relative to their norm."""
    weights, found = ranks[0]["ddp"][0], ranks[0][name][0]
    return ((found - weights).norm() / weights.norm()).item()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("fp16", 0, 1e-3),
        ("bf16", 0, 1e-2),
        ("power_sgd", 1e-6, 0.2),
        ("power_sgd that begins after the end", 0, 1e-6),
        ("local SGD that averages every step", 0, 1e-6),
        ("local SGD that begins after the end", 0, 1e-6),
        ("local SGD", 1e-6, 0.2),
    ],
)
def test_the_weights_are_as_close_to_those_of_ddp_as_what_is_sent(ranks, name, least, most):
    assert least <= distance(ranks, name) < most


@pytest.mark.slow
@pytest.mark.parametrize("name", JOBS)
def test_the_processes_end_with_the_same_weights_and_begin_each_trial_anew(ranks, name):
    (first, again, accuracy, _), (other, _, other_accuracy, _) = (rank[name] for rank in ranks)
    assert torch.equal(first, other)
    assert torch.equal(first, again)
    assert accuracy == other_accuracy


@pytest.mark.slow
def test_the_record_names_the_strategy(ranks):
    assert ranks[0]["local SGD that averages every step"][3] == "local SGD"
    assert ranks[0]["power_sgd"][3] == "DDP"
    assert ranks[0]["local SGD that begins after the end"][3] == "post-local SGD"
