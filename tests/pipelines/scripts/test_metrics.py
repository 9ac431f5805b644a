"""What is read of a command's output."""

import math

import pytest

from pipelines.scripts import metrics
from pipelines.scripts.metrics import Reported, reader
from pipelines.scripts.run import ScriptError


def reported(*lines, how="json"):
    read, found = reader(how), Reported()
    for line in lines:
        found.add(read(line))
    return found


def test_json_lines_are_epochs_with_seconds_so_far():
    found = reported(
        "loading",
        '{"epoch": 1, "accuracy": 0.5, "loss": 2, "seconds": 3, "lr": 0.1}',
        '{"epoch": 2, "accuracy": 0.75, "train_accuracy": 0.9, "seconds": 5.5}',
    )
    assert [(one.epoch, one.accuracy, one.train_loss) for one in found.results] == [(1, 0.5, 2), (2, 0.75, None)]
    assert found.results[1].train_accuracy == 0.9
    assert [(lap.name, lap.epoch, lap.seconds) for lap in found.laps] == [("train", 1, 3), ("train", 2, 2.5)]
    assert found.accuracy == 0.75


def test_a_regular_expression_names_its_groups():
    found = reported("epoch 3: acc 91.5%", "done", how=r"epoch (?P<epoch>\d+): acc (?P<accuracy_percent>[\d.]+)")
    assert [(one.epoch, one.accuracy) for one in found.results] == [(3, pytest.approx(0.915))]
    assert found.laps == []


def test_epochs_from_zero_are_counted_from_one():
    found = reported('{"epoch": 0, "accuracy": 0.1}', '{"epoch": 1, "accuracy": 0.2}')
    assert [one.epoch for one in found.results] == [1, 2]


def test_several_lines_of_an_epoch_are_one():
    found = reported('{"epoch": 1, "loss": 2}', '{"epoch": 1, "accuracy": 0.2}')
    assert [(one.epoch, one.train_loss, one.accuracy) for one in found.results] == [(1, 2, 0.2)]


def test_a_line_costs_the_same_however_many_came_before(monkeypatch):
    """A command may report each of ten thousand steps as an epoch, and this process looks at the results each time."""
    made = []
    real = metrics.EpochResult
    monkeypatch.setattr(metrics, "EpochResult", lambda *given, **named: made.append(given) or real(*given, **named))
    found = Reported()
    for step in range(50):
        found.add({"epoch": step, "loss": 1.0})
        assert found.results[-1].epoch == step + 1
    assert len(made) == 50


def test_an_accuracy_without_an_epoch_is_the_one_at_the_end():
    found = reported('{"epoch": 1, "accuracy": 0.2}', '{"accuracy": 0.3}')
    assert (found.accuracy, len(found.results)) == (0.3, 1)


@pytest.mark.parametrize("line", ["{", "{'epoch': 1}", "[1]", '"text"', "{}", "", '{"lr": 0.1}', "\x00\x1b[0m"])
def test_other_lines_say_nothing(line):
    assert reported(line) == Reported()


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (('{"epoch": 2, "accuracy": 0.1}', '{"epoch": 1, "accuracy": 0.1}'), "epoch 1 is reported after epoch 2"),
        (('{"epoch": 1, "accuracy": 0.1}', '{"epoch": 1, "accuracy": 0.2}'), "accuracy of epoch 1 is reported twice"),
        (('{"epoch": -1}',), "epoch -1 is reported"),
        (('{"epoch": 1, "accuracy": "good"}',), "accuracy='good' is not a number"),
        (('{"epoch": 1, "accuracy": [1]}',), r"accuracy=\[1\] is not a number"),
        (('{"epoch": 1, "accuracy": 94.1}',), r"accuracy is 94\.1: an accuracy is a fraction"),
        (('{"epoch": NaN, "accuracy": 0.1}',), "epoch=nan is not a whole number"),
        (('{"epoch": 0.5, "accuracy": 0.1}',), r"epoch=0\.5 is not a whole number"),
        (('{"epoch": 1, "seconds": NaN}',), "seconds=nan is not a finite number"),
        (('{"epoch": 1, "seconds": Infinity}',), "seconds=inf is not a finite number"),
        ((f'{{"accuracy": 1{400 * "0"}}}',), "is not a number"),
    ],
)
def test_what_cannot_be_is_an_error(lines, words):
    with pytest.raises(ScriptError, match=words):
        reported(*lines)


def test_seconds_that_fall_are_an_error():
    found = reported('{"epoch": 1, "seconds": 5}', '{"epoch": 2, "seconds": 3}')
    with pytest.raises(ScriptError, match="seconds of epoch 2 are 3, after 5"):
        _ = found.laps


def test_nan_is_kept_at_the_end_and_is_no_accuracy_of_an_epoch():
    found = reported('{"epoch": 1, "accuracy": NaN, "train_accuracy": NaN, "loss": NaN}')
    assert math.isnan(found.accuracy)
    (epoch,) = found.results
    assert (epoch.accuracy, epoch.train_accuracy) == (None, None)
    assert math.isnan(epoch.train_loss)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("json:", "names no file; write json:FILE"),
        ("acc (", "is not json, json:FILE or a regular expression"),
        (r"acc ([\d.]+)", r"has no group \(\?P<accuracy>"),
        (r"(?P<accuracy>\d) (?P<speed>\d)", "the group speed is none of epoch, accuracy"),
    ],
)
def test_metrics_that_will_not_do_are_one_line(how, words):
    with pytest.raises(ValueError, match=words):
        reader(how)
