"""Two real processes train under each engine what one process trains, up to float32's rounding."""

import pytest
import torch

from pipelines import recipe
from pipelines.data import split
from pipelines.parallel import World
from pipelines.train import run_trial, set_up
from tests.pipelines.processes import in_processes

RELATIVE = 1e-5
"""to the norm of all weights and statistics: sums in another order are rounded differently"""

ENGINES = {"FSDP2": ["parallel.engine=fsdp2"]}
"""By the strategy that has to run, what the recipe says"""


class WholeWeights:
    """The weights at the end of a trial, gathered from all processes."""

    def trial_end(self, state):
        self.weights = {name: whole(tensor) for name, tensor in state.network.named_parameters()}
        self.weights |= {name: buffer.clone() for name, buffer in state.network.named_buffers()}


def whole(parameter):
    if hasattr(parameter, "full_tensor"):
        return parameter.full_tensor().detach().clone()
    return parameter.detach().clone()


def train(world, jobs):
    """Every job twice, by the same network: what a test wants to know of it."""
    torch.set_num_threads(1)
    found = []
    for chosen, dataset in jobs:
        bench, observer = set_up(chosen, split.select(dataset, chosen.data), world), WholeWeights()
        trials = [run_trial(bench, seed=5, observers=[observer]) for _ in range(2)]
        accuracies = [[result.accuracy for result in trial.epochs] for trial in trials]
        losses = [result.train_loss for result in trials[1].epochs]
        found.append((bench.strategy, observer.weights, accuracies, losses))
    return found


def flat(weights):
    return torch.cat([tensor.flatten() for tensor in weights.values() if tensor.is_floating_point()])


def jobs_of(digits, coloured, engine):
    """A name for each recipe, and the recipe with its data.

    Of 101 images the last batch has 5, which two processes cannot share equally, and in an evaluation of 101 images by
    batches of 50 only one of them has a second batch. `wide` has weights of more than 100,000 numbers in a tensor,
    fewer of which DeepSpeed leaves whole.
    """
    uneven = ["data.limit=101", "batch_size=16", "drop_last=false", "epochs=2", "augment.crop=0"]
    quick = [*uneven, "evaluation.batch_size=50", "optimizer.lr=0.02", "model.widths=[8,16]", *engine]
    small = ["model.widths=[4,4,6,8]", "batch_size=16", "epochs=4", "schedule.epochs=[0,1,4]", "precision=float32"]
    davidnet = [*small, "augment={crop: 0, flip: none}", "optimizer.lr=0.02", "techniques.ema=null", *engine]
    whitened = ["model.whitening={images: 40, bias: true}", "techniques.whitening_bias.epochs=2"]
    return {
        "SGD": (recipe.load("digits/quick", quick), digits),
        "AdamW": (recipe.load("digits/quick", [*quick, "optimizer={name: adamw, lr: 0.001}"]), digits),
        "wide": (recipe.load("digits/quick", [*quick, "model.widths=[100,120]", "epochs=1"]), digits),
        "frozen whitening bias, ghost norm": (
            recipe.load("cifar10/davidnet-10", [*davidnet, *whitened, "model.norm={group_size: 4}"]),
            coloured,
        ),
        "SyncBN": (
            recipe.load("cifar10/davidnet-10", [*davidnet, "model.norm={sync: true, group_size: null}"]),
            coloured,
        ),
    }


@pytest.fixture(scope="module")
def alone(digits, coloured):
    """By job, what one process trains."""
    jobs = jobs_of(digits, coloured, [])
    return dict(zip(jobs, train(World(), list(jobs.values())), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ENGINES)
def test_two_processes_train_what_one_does(tmp_path, digits, coloured, alone, strategy):
    jobs = jobs_of(digits, coloured, ENGINES[strategy])
    ranks = in_processes(tmp_path, train, list(jobs.values()), seconds=500)
    for name, first, last in zip(jobs, *ranks, strict=True):
        _, weights, accuracies, losses = alone[name]
        assert first[0] == strategy
        assert all(torch.equal(first[1][key], last[1][key]) for key in weights), name
        assert (flat(first[1]) - flat(weights)).norm() < RELATIVE * flat(weights).norm(), name
        assert first[2] == last[2] == accuracies, name
        assert first[3] == pytest.approx(losses, rel=1e-4), name
