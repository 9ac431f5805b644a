from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from pipelines.data import split
from pipelines.distributed.process_group import World
from pipelines.evaluate import Accuracy
from pipelines.events import State
from pipelines.optim.scheduled_optimizer import ScheduledOptimizer
from pipelines.recipe import RecipeError, load, techniques
from pipelines.techniques import early_stopping
from pipelines.techniques.early_stopping import EarlyStopping, Patience
from pipelines.train import run_trial, set_up
from tests.pipelines.techniques.test_semi_supervised import TwiceAsMuch

PLAIN = ["epochs=5", "batch_size=256", "data.validation=0.2"]


@pytest.mark.parametrize(
    ("values", "patience", "min_delta", "last", "best"),
    [
        ([0.1, 0.3, 0.2, 0.2, 0.9], 2, 0.0, 4, 0.3),
        ([0.1, 0.3, 0.2, 0.31, 0.2], 2, 0.0, None, 0.31),
        ([0.1, 0.3, 0.3, 0.3, 0.9], 2, 0.0, 4, 0.3),
        ([0.1, 0.3, 0.2, 0.31, 0.9], 2, 0.05, 4, 0.3),
        ([0.3, 0.1], 1, 0.0, 2, 0.3),
    ],
)
def test_patience(values, patience, min_delta, last, best):
    watch = Patience(patience, min_delta)
    stopped = None
    for count, value in enumerate(values, start=1):
        watch.see(value)
        if watch.is_over:
            stopped = count
            break
    assert (stopped, watch.best) == (last, best)


class Weights:
    """Keeps the weights at the end of each epoch, as they were trained."""

    def __init__(self):
        self.after = []

    def train_epoch_end(self, state):
        self.after.append([parameter.detach().clone() for parameter in state.network.parameters()])


def watched(dataset, monkeypatch, accuracies, *overrides, precision="float32"):
    """A trial in which the held-out images give these accuracies. Returns it, its network and the weights seen."""
    given = iter(accuracies)
    sizes = []

    def evaluate(forward, images, labels, config, world):
        assert config.tta == "none"
        sizes.append(len(images))
        return Accuracy(with_tta=next(given), plain=0.0, by_class=())

    chosen = load("digits/quick", [*PLAIN, f"precision={precision}", *overrides])
    setup = set_up(chosen, split.select(dataset, chosen.data), World())
    monkeypatch.setattr(early_stopping, "evaluate", evaluate)
    weights = Weights()
    trial = run_trial(setup, 0, observers=[weights])
    assert sizes == [round(0.2 * 1437)] * len(trial.epochs)
    return trial, list(setup.network.parameters()), weights.after


@pytest.mark.parametrize("precision", ["float32", "half"])
@pytest.mark.parametrize(("restore", "kept"), [("true", 1), ("false", 2)])
def test_the_training_ends_early_on_the_best_or_the_last_weights(digits, monkeypatch, precision, restore, kept):
    if precision == "half" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("this CPU has no fast bfloat16")
    config = f"techniques.early_stopping={{patience: 1, restore_best: {restore}}}"
    trial, network, weights = watched(digits, monkeypatch, [0.5, 0.7, 0.6], config, precision=precision)
    assert [result.epoch for result in trial.epochs] == [1, 2, 3]
    assert trial.steps == 3 * (len(digits.train_images) * 4 // 5 // 256)
    laps = [(lap.name, lap.epoch) for lap in trial.laps if "evaluate" in lap.name]
    held_out = [("evaluate", epoch) for epoch in (1, 2, 3)]  # timed as evaluation, not as training
    assert laps == [held_out[0], ("evaluate", 1), held_out[1], ("evaluate", 2), held_out[2], ("final_evaluate", None)]
    assert trial.accuracy == trial.epochs[-1].accuracy is not None
    assert trial.notes == {"early_stopping": {"best_epoch": 2, "held_out_accuracy": 0.7}}
    assert not torch.equal(weights[0][0], weights[1][0])
    assert not torch.equal(weights[0][0], network[0])
    if restore == "true":  # the observer, which comes after the technique, sees what was put back
        assert all(torch.equal(one, other) for one, other in zip(weights[1], network, strict=True))
    assert all(torch.equal(one, other) for one, other in zip(weights[kept], network, strict=True))


def test_a_training_that_goes_on_to_its_end_still_ends_on_the_best_weights(digits, monkeypatch):
    accuracies = [0.5, 0.4, 0.6, 0.5, 0.4]
    trial, network, weights = watched(digits, monkeypatch, accuracies, "techniques.early_stopping={}")
    assert len(trial.epochs) == 5
    assert all(torch.equal(one, other) for one, other in zip(weights[2], network, strict=True))


def test_while_it_waits_nothing_changes(digits):
    """The accuracies, the losses and the weights are those of a training without it."""
    outcomes = []
    for overrides in ([], ["techniques.early_stopping={patience: 9, restore_best: false}"]):
        chosen = load("digits/quick", [*PLAIN, *overrides])
        setup = set_up(chosen, split.select(digits, chosen.data), World())
        trial = run_trial(setup, seed=0)
        outcomes.append((trial.epochs, [parameter.detach().clone() for parameter in setup.network.parameters()]))
    assert outcomes[0][0] == outcomes[1][0]
    assert all(torch.equal(one, other) for one, other in zip(outcomes[0][1], outcomes[1][1], strict=True))


class OneOfTwo(World):
    """Beside another process, whose values are all 0."""

    def sum(self, values):
        return values


def test_several_processes_evaluate_with_the_mean_of_their_statistics(monkeypatch):
    network = nn.BatchNorm1d(2)
    nn.init.constant_(network.running_mean, 3.0)
    means = []

    def evaluate(forward, images, labels, config, world):
        means.append(network.running_mean.tolist())
        return Accuracy(with_tta=0.5, plain=0.5, by_class=())

    monkeypatch.setattr(early_stopping, "evaluate", evaluate)
    chosen = load("digits/quick", [*PLAIN, "techniques.early_stopping={}"])
    state = SimpleNamespace(network=network, world=OneOfTwo(0, 2), recipe=chosen, predict=network, epoch=0)
    state.held_out, state.step, state.steps = lambda: (None, None), 1, 5
    state.optimizer = SimpleNamespace(master_tensors=lambda network: [*network.parameters(), *network.buffers()])
    stopping = EarlyStopping(chosen.techniques.early_stopping)
    stopping.trial_start(state)
    stopping.train_epoch_end(state)
    assert means == [[1.5, 1.5]]


def test_the_accuracy_it_watches_is_that_of_the_held_out_images(digits):
    chosen = load("digits/quick", [*PLAIN, "data.evaluate=validation", "techniques.early_stopping={}"])
    dataset = split.select(digits, chosen.data)
    trial = run_trial(set_up(chosen, dataset, World()), seed=0)
    accuracies = [result.accuracy for result in trial.epochs]
    assert trial.notes["early_stopping"]["held_out_accuracy"] == max(accuracies) == accuracies[-1]
    assert trial.notes["early_stopping"]["best_epoch"] == int(np.argmax(accuracies)) + 1


def test_without_held_out_images_it_is_refused():
    with pytest.raises(RecipeError, match="there are none: set data.validation=0.1"):
        load("digits/quick", ["techniques.early_stopping={}"])
    load("digits/quick", ["techniques.early_stopping={}", "data={folds: 5, fold: 0}"])


def test_the_statistics_are_the_mean_over_the_processes(monkeypatch):
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    state = State(
        load("digits/quick"),
        network,
        network,
        ScheduledOptimizer([], {}),
        seed=0,
        steps=2,
        steps_per_epoch=1,
        world=TwiceAsMuch(0, 2),
        held_out=lambda: (None, None),
    )
    technique = early_stopping.EarlyStopping(techniques.EarlyStopping())
    technique.trial_start(state)
    network(torch.randn(4, 1, 8, 8))
    alone, evaluated = network[1].running_var.clone(), []

    def evaluate(*arguments):
        evaluated.append(network[1].running_var.clone())
        return Accuracy(with_tta=0.5, plain=0.5, by_class=())

    monkeypatch.setattr(early_stopping, "evaluate", evaluate)
    technique.train_epoch_end(state)
    assert torch.equal(evaluated[0], 2 * alone)
