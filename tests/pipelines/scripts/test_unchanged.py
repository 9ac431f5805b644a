"""Adapters for files that stay as they are."""

import sys
from types import SimpleNamespace

import pytest
import torch

from pipelines.scripts.run import Run, ScriptError
from pipelines.scripts.unchanged import printed, timed


@pytest.fixture
def run():
    return Run(seed=3, device=torch.device("cpu"), target=0.9)


def laps(run):
    return [(lap.name, lap.epoch) for lap in run.clock.laps]


def test_calls_of_a_module_are_laps_with_their_epoch(run):
    peer = SimpleNamespace(train=lambda batch, scale=1: batch * scale, test=lambda: 0.5, load=lambda: None)
    before = vars(peer).copy()
    with timed(run, peer, train="train", test="evaluate", load="load"):
        peer.load()
        for _ in range(2):
            assert peer.train(2, scale=3) == 6
            peer.test()
    assert laps(run) == [("load", None), ("train", 1), ("evaluate", 1), ("train", 2), ("evaluate", 2)]
    assert vars(peer) == before


def test_a_module_is_as_before_after_an_error(run):
    peer = SimpleNamespace(train=lambda: 1 / 0)
    before = peer.train
    with pytest.raises(ZeroDivisionError), timed(run, peer, train="train"):
        peer.train()
    assert peer.train is before


def test_a_function_that_is_not_there_and_an_unknown_lap_are_refused(run):
    with pytest.raises(ScriptError, match=r"sys has no function 'train'"), timed(run, sys, train="train"):
        pass
    with (
        pytest.raises(ScriptError, match=r"timed\(exit='tune'\): the laps are load"),
        timed(run, sys, exit="tune"),
    ):
        pass


def test_printed_lines_are_reports(run, capsys):
    with printed(run, r"Accuracy: \d+/\d+ \((?P<accuracy_percent>\d+)%\)"):
        print("Train Epoch: 1 Loss: 0.3")
        print("\nTest set: Accuracy: 9000/10000 (90%)\n")
        sys.stdout.write("Accuracy: 9200/10000 ")
        sys.stdout.write("(92%)\n")
    assert [(one.epoch, one.accuracy) for one in run.history] == [(1, 0.9), (2, 0.92)]
    assert "Test set: Accuracy: 9000/10000 (90%)\n" in capsys.readouterr().out


def test_printed_epochs_may_be_counted_from_0(run):
    with printed(run, r"epoch (?P<epoch>\d+): (?P<accuracy_percent>[\d.]+) (?P<loss>\S+)"):
        print("epoch 0: 50.0 1.5")
        print("epoch 1: 75.0 0.5")
    assert [(one.epoch, one.accuracy, one.train_loss) for one in run.history] == [(1, 0.5, 1.5), (2, 0.75, 0.5)]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("nothing", "no line that was printed matches"),
        ("acc 1.5", "accuracy is 1.5: an accuracy is a fraction"),
        ("acc high", "accuracy='high' is not a number"),
    ],
)
def test_what_is_printed_wrongly_is_an_error(run, line, message):
    with pytest.raises(ScriptError, match=message), printed(run, r"acc (?P<accuracy>\S+)"):
        print(line)


def test_a_pattern_without_an_accuracy_is_refused(run):
    message = r"trial\.printed: 'acc': has no group \(\?P<accuracy>"
    with pytest.raises(ScriptError, match=message), printed(run, "acc"):
        pass


def test_standard_output_is_as_before(run):
    before = sys.stdout
    with printed(run, r"(?P<accuracy>\S+)"):
        assert sys.stdout.encoding == before.encoding
        print("0.5")
    assert sys.stdout is before


def test_a_report_inside_a_lap_is_shown_after_it(run):
    shown = []
    run.on_epoch = lambda one: shown.append((len(one.clock.laps), one.history[-1].epoch))
    with run.lap("evaluate", 1):
        run.evaluated(1, accuracy=0.5)
        assert not shown
    run.evaluated(2, accuracy=0.6)
    assert shown == [(1, 1), (1, 2)]


def test_a_carriage_return_ends_a_line(run):
    with printed(run, r"^(?P<accuracy>[\d.]+)$"):
        print("\r 50%", end="")
        print("\r100%", end="\r")
        print("0.5")
    assert [one.accuracy for one in run.history] == [0.5]


def test_the_last_line_needs_no_end(run):
    with printed(run, r"acc (?P<accuracy>[\d.]+)"):
        print("\racc 0.5", end="")
        print("\racc 0.75", end="")
    assert [one.accuracy for one in run.history] == [0.5, 0.75]


def test_a_rank_that_prints_nothing_leaves_it_to_rank_0():
    run = Run(seed=3, device=torch.device("cpu"), target=0.9, rank=1, world_size=2)
    with printed(run, r"acc (?P<accuracy>\S+)"):
        print("only rank 0 prints its accuracy")
    assert run.history == []


def test_standard_output_has_what_a_stream_has(run, capfd):
    with printed(run, r"(?P<accuracy>\d\.\d)"):
        sys.stdout.writelines(["0.5\n", "0.6\n"])
        sys.stdout.buffer.write(b"bytes\n")
        sys.stdout.flush()
    assert [one.accuracy for one in run.history] == [0.5, 0.6]
