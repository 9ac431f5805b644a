"""What a function may do with its run."""

import math
from typing import get_args

import pytest
import torch

from pipelines.clock import Clock
from pipelines.scripts.run import LAPS, Run, ScriptError
from results.record import LapName


@pytest.fixture
def run():
    return Run(seed=3, device=torch.device("cpu"), target=0.9)


def test_a_loss_may_require_a_gradient(run, recwarn):
    run.evaluated(1, accuracy=0.5, loss=torch.ones((), requires_grad=True), margin=torch.ones(1, requires_grad=True))
    assert run.history[0].train_loss == 1.0
    assert run.notes["scores"] == [{"epoch": 1, "margin": 1.0}]
    assert not recwarn.list


def test_a_lap_is_timed_between_two_synchronisations():
    times, synchronised = iter([10.0, 12.5]), []
    clock = Clock(now=lambda: next(times), synchronize=lambda: synchronised.append(True))
    run = Run(seed=0, device=torch.device("cpu"), target=0.9, clock=clock)
    with run.lap("train", 2):
        pass
    (lap,) = clock.laps
    assert (lap.name, lap.epoch, lap.seconds, len(synchronised)) == ("train", 2, 2.5, 2)


@pytest.mark.parametrize("name", LAPS)
def test_every_lap_of_a_recipe_can_be_used(run, name):
    with run.lap(name):
        pass
    assert [lap.name for lap in run.clock.laps] == [name]


def test_an_unknown_lap_is_refused_with_those_that_there_are(run):
    with pytest.raises(ScriptError, match=r"run\.lap\('training'\): the laps are load, transfer, .*, train, "):
        run.lap("training")


def test_laps_cannot_be_nested(run):
    with (
        pytest.raises(ScriptError, match=r"run\.lap\('evaluate'\) while run\.lap\('train'\) has not ended"),
        run.lap("train"),
        run.lap("evaluate"),
    ):
        pass


def test_a_lap_after_one_that_raised_is_timed(run):
    with pytest.raises(KeyError), run.lap("train"):
        raise KeyError
    with run.lap("evaluate"):
        pass
    run.check_ended()
    assert [lap.name for lap in run.clock.laps] == ["evaluate"]


@pytest.mark.parametrize("enter", [True, False])
def test_a_lap_that_was_left_open_is_found(run, enter):
    lap = run.lap("train")
    if enter:
        lap.__enter__()
    with pytest.raises(ScriptError, match=r"run\.lap\('train'\) was left open"):
        run.check_ended()


@pytest.mark.parametrize(
    ("epochs", "words"),
    [
        ((1, 1), "epoch 1 is reported twice"),
        ((2, 1), "epoch 1 is reported after epoch 2"),
        ((0,), r"run\.evaluated\(0\): an epoch is a whole number, counted from 1"),
    ],
)
def test_epochs_are_reported_once_and_forwards(run, epochs, words):
    with pytest.raises(ScriptError, match=words):
        for epoch in epochs:
            run.evaluated(epoch, accuracy=0.5)


@pytest.mark.parametrize("epoch", [0, -1, 0.5, math.nan, math.inf, "1", torch.ones(2)])
def test_an_epoch_is_a_whole_number(run, epoch):
    with pytest.raises(ScriptError, match="an epoch is a whole number"):
        run.evaluated(epoch, accuracy=0.5)
    with pytest.raises(ScriptError, match="an epoch is a whole number"):
        run.lap("train", epoch)
    assert (run.history, run.clock.laps) == ([], [])


def test_a_whole_number_of_another_type_is_kept_as_one(run):
    run.evaluated(torch.tensor(1), accuracy=0.5)
    with run.lap("train", 1.0):
        pass
    kept = run.history[0].epoch, run.clock.laps[0].epoch
    assert (kept, [type(one) for one in kept]) == ((1, 1), [int, int])


def test_what_is_reported_is_kept_as_numbers(run):
    run.evaluated(1, accuracy=torch.tensor(0.5), loss=torch.tensor(2.0), perplexity=7)
    run.evaluated(3, loss=math.nan)
    first, second = run.history
    assert (first.epoch, first.accuracy, first.train_loss) == (1, 0.5, 2.0)
    assert (second.epoch, second.accuracy) == (3, None)
    assert math.isnan(second.train_loss)
    assert run.notes == {"scores": [{"epoch": 1, "perplexity": 7.0}]}


@pytest.mark.parametrize("accuracy", [94.1, -0.1, math.inf, "high", torch.ones(2)])
def test_an_accuracy_is_a_fraction(run, accuracy):
    with pytest.raises(ScriptError, match="an accuracy is"):
        run.evaluated(1, accuracy=accuracy)


def test_epochs_count_from_one_to_the_limit(run):
    assert list(run.epochs(3)) == [1, 2, 3]
    run.epoch_limit = 1
    assert list(run.epochs(3)) == [1]
    assert run.planned == 1


def test_without_a_data_set_it_is_said_how_to_name_one(run):
    with pytest.raises(ScriptError, match=r"set data\.name=cifar10"):
        run.dataset()


def test_the_laps_of_an_author_are_those_of_the_record_but_the_processes_own():
    assert set(LAPS) == set(get_args(LapName)) - {"startup", "total", "command"}
