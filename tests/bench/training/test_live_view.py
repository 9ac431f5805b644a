import io
import threading
from types import SimpleNamespace

import pytest
from rich.console import Console
from rich.text import Text

from bench.command_line import cli
from bench.training import events, live_view, trainers
from bench.training.live_view import EpochLines, LiveBar, TrialLines
from pipelines import recipe
from pipelines.clock import Lap
from pipelines.events import State
from pipelines.scripts.function import EpochProgress
from pipelines.trial import EpochResult, Trial
from tests.bench.conftest import SMALL, train

HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"


class FakeTime(SimpleNamespace):
    """A clock that stands until it is told otherwise."""

    now = 1000.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    fake = FakeTime()
    monkeypatch.setattr(live_view, "time", fake)
    return fake


class Screen(io.StringIO):
    """What a terminal shows."""

    def isatty(self):
        return True


def log():
    """A console that is no terminal."""
    return Console(file=io.StringIO(), width=160)


def terminal(width=160):
    return Console(file=Screen(), force_terminal=True, width=width)


def written(console):
    return console.file.getvalue()


def state(*, step=44, steps=44, train_seconds=1.0, augment_seconds=0.1, accuracy=0.9, epoch=1):
    """After epoch `epoch` (from 0) of two, in the trial of seed 5."""
    history = [EpochResult(1, 2.0, accuracy), EpochResult(2, 1.25, accuracy)][: epoch + 1]
    laps = [
        Lap(name, seconds, number)
        for number in range(1, epoch + 2)
        for name, seconds in (("augment", augment_seconds), ("train", train_seconds), ("evaluate", 9.0))
    ]
    chosen = recipe.load("digits/quick", ["epochs=2"])
    return State(chosen, None, None, None, 5, steps, 22, epoch=epoch, step=step, history=history, laps=laps)


def trial(seed=5, accuracy=0.9125, outcome="missed"):
    return Trial(seed, outcome, accuracy, accuracy, 0.97, (), (), 44, 2816, 0, None, reason=None)


def test_a_line_as_each_trial_ends(clock):
    console = log()
    view = TrialLines(console)
    view.start_run("digits/quick", 3)
    view.trial_start(state())
    view.epoch_end(state())
    clock.now += 2.5
    view.trial_finished(trial())
    clock.now += 2.5
    view.trial_finished(trial(6, None, "diverged"))
    view.end_run()
    assert written(console).splitlines() == [
        "digits/quick: trial 1/3, seed 5: missed, 91.25%, 2.5 s so far, about 5 s to go",
        "digits/quick: trial 2/3, seed 6: diverged, 5.0 s so far, about 2 s to go",
    ]


def test_names_are_not_read_as_markup_and_lines_are_not_broken(clock):
    console = Console(file=io.StringIO(), width=20)
    view = TrialLines(console)
    view.start_run("mine/[bold]x[/bold].yaml", 1)
    view.trial_finished(trial())
    assert written(console) == "mine/[bold]x[/bold].yaml: trial 1/1, seed 5: missed, 91.25%, 0.0 s so far\n"


def test_epoch_lines_say_how_far_it_is_and_how_long_it_takes(clock):
    console = log()
    view = EpochLines(console)
    view.start_run("digits/quick", 2)
    view.trial_start(state(step=0))
    clock.now += 20
    view.epoch_end(state(step=22, epoch=0))
    assert written(console) == (
        "digits/quick: seed 5, epoch 1/2, loss 2.000, accuracy 90.00%, 20 s so far, about 60 s to go\n"
    )
    view.trial_finished(trial())
    view.trial_start(state(step=0))
    clock.now += 20
    view.epoch_end(state(step=22, epoch=0, accuracy=None))
    assert (
        written(console).splitlines()[-1]
        == "digits/quick: seed 5, epoch 1/2, loss 2.000, 40 s so far, about 10 s to go"
    )


def test_the_time_to_go_is_not_reckoned_from_the_warm_up(clock):
    console = log()
    view = EpochLines(console)
    view.start_run("digits/quick", 1)
    clock.now += 300  # torch.compile, once
    view.trial_start(state(step=0))
    clock.now += 10
    view.epoch_end(state(step=22, epoch=0))
    assert "about 10 s to go" in written(console)


def test_epoch_lines_are_few(clock):
    console = log()
    view = EpochLines(console)
    view.start_run("digits/quick", 1)
    view.trial_start(state(step=0))
    clock.now += 1
    for _ in range(5):
        view.epoch_end(state())
    assert len(written(console).splitlines()) == 1
    clock.now += live_view.LINE_INTERVAL - 0.1
    view.epoch_end(state())
    assert len(written(console).splitlines()) == 1
    clock.now += 0.1
    view.epoch_end(state())
    assert len(written(console).splitlines()) == 2


@pytest.mark.parametrize("kind", [TrialLines, EpochLines, LiveBar])
def test_slow_steps_are_noted_once_with_where_the_time_goes(clock, kind):
    console = terminal() if kind is LiveBar else log()
    view = kind(console)
    view.start_run("digits/quick", 2)
    view.trial_start(state(step=0))
    clock.now += 1
    slow = state(step=44, train_seconds=33.0, augment_seconds=11.0)  # of 22 steps
    for _ in range(3):
        view.epoch_end(slow)
    view.end_run()
    view.start_run("mnist/base", 1)
    view.epoch_end(slow)
    view.end_run()
    note = "digits/quick: a step takes 2.0 s, 75% in the loop and 25% on data before it"
    assert written(console).count(note) == written(console).count("a step takes") == 1


def test_the_hint_looks_at_the_last_epoch_alone():
    fast = state(step=44, train_seconds=5.0, augment_seconds=5.9)
    assert live_view.slow_step_hint(fast) is None
    fast.laps[-2:] = [Lap("train", 6.0, 2), Lap("augment", 6.0, 2)]
    assert "a step takes 0.5 s" in live_view.slow_step_hint(fast)


def test_the_steps_of_an_epoch_that_is_cut_short_are_counted_right():
    """Epoch 2 of 1.5 has 11 steps, not 16."""
    cut = state(step=33, steps=33, train_seconds=6.6, augment_seconds=0.0)
    cut.recipe = cut.recipe.model_copy(update={"epochs": 1.5})
    assert "a step takes 0.6 s, 100% in the loop" in live_view.slow_step_hint(cut)


def test_the_bar_moves_with_the_steps_and_leaves_only_the_lines(clock):
    console = terminal()
    view = LiveBar(console)
    threads = set(threading.enumerate())
    view.start_run("digits/quick", 2)
    assert "warming up" in written(console)
    view.trial_start(state(step=0))
    clock.now += 1
    view.step_end(state(step=11))
    assert set(threading.enumerate()) <= threads
    drawn = len(written(console))
    clock.now += live_view.REFRESH_INTERVAL - 0.1
    view.step_end(state(step=12))
    assert len(written(console)) == drawn, "drawn again too soon"
    clock.now += 0.1
    view.step_end(state(step=13))
    assert len(written(console)) > drawn
    view.epoch_end(state(step=22, epoch=0))
    assert "seed 5, epoch 1/2, loss 2.000, accuracy 90.00%" in written(console)
    view.trial_finished(trial())
    assert "digits/quick: trial 1/2, seed 5: missed, 91.25%, 1.5 s so far, about 2 s to go" in written(console)
    view.end_run()
    assert written(console).count(HIDE_CURSOR) == written(console).count(SHOW_CURSOR) == 1
    end = len(written(console))
    view.end_run()
    assert len(written(console)) == end


def test_the_bar_is_not_drawn_within_a_lap_before_the_first_step(clock):
    console = terminal()
    view = LiveBar(console)
    view.start_run("digits/quick", 2)
    before = written(console)
    view.trial_start(state(step=0, epoch=0))
    assert written(console) == before
    view.step_end(state(step=1, epoch=0))
    assert "trial 1/2, seed 5" in written(console).removeprefix(before)
    view.trial_start(EpochProgress(6, 0, 0, ()))
    assert "seed 6" in written(console), "a function is called after it, outside of any lap"
    view.end_run()


def test_the_bar_counts_the_steps_of_all_trials(clock):
    view = LiveBar(terminal())
    view.start_run("digits/quick", 2)
    view.trial_start(state(step=0))
    view.trial_finished(trial())
    view.trial_start(state(step=0))
    view.step_end(state(step=22))
    (task,) = view._bars.progress.tasks
    assert (task.completed, task.total) == (66, 88)
    view.end_run()


@pytest.mark.parametrize("width", [60, 80])
def test_a_narrow_bar_keeps_every_number(clock, width):
    console = terminal(width)
    view = LiveBar(console)
    view.start_run("cifar10/ladder/22-label-smoothing", 12)
    view.trial_start(state(step=0))
    clock.now += 600
    view.epoch_end(state(step=22, epoch=0))
    drawn = Text.from_ansi(written(console)).plain.rpartition("warming up")[2]
    words = " ".join(drawn.split())
    for text in ("trial", "1/12,", "1/2,", "2.000,", "90.00%", "0:00:", "~3.8 h to go"):
        assert text in words, drawn
    view.end_run()


def test_interleaved_runs_have_a_bar_each_and_share_the_console(clock, monkeypatch):
    console = terminal()
    monkeypatch.setattr(cli, "make_console", lambda to_stderr: console)
    first, second = live_view.make_views(2, is_main=True, interleaved=True)
    first.start_run("a", 2)
    second.start_run("b", 2)
    for view in (first, second):
        view.trial_start(state(step=0))
        clock.now += 10
        view.trial_finished(trial())
    first.trial_start(state(step=0))
    clock.now += 10
    first.step_end(state(step=1))
    assert "trial 2/2" in written(console)
    first.trial_finished(trial())
    assert "a: trial 2/2, seed 5: missed, 91.25%, 30.0 s so far" in written(console)
    first.end_run()
    assert SHOW_CURSOR not in written(console)
    second.end_run()
    assert written(console).count(HIDE_CURSOR) == written(console).count(SHOW_CURSOR) == 1


def test_the_start_of_a_trial_counts_to_its_time(clock):
    console = log()
    view = TrialLines(console)
    view.start_run("digits/quick", 3)
    clock.now += 90
    begun = state(step=0)
    begun.laps = [Lap("transfer", 30.0), Lap("build", 30.0)]
    view.trial_start(begun)
    clock.now += 30
    view.trial_finished(trial())
    assert "120.0 s so far, about 3 min to go" in written(console)


@pytest.mark.parametrize("error", [RuntimeError("out of luck"), KeyboardInterrupt()])
def test_the_bar_is_taken_down_when_a_trial_fails(tmp_path, monkeypatch, error):
    def fail(*arguments):
        raise error

    monkeypatch.setattr(trainers, "run_trial", fail)
    console = terminal()
    with pytest.raises(type(error)):
        train(*SMALL, "--out", str(tmp_path), view=LiveBar(console))
    assert written(console).count(HIDE_CURSOR) == 1
    assert written(console).count(SHOW_CURSOR) == 1


@pytest.mark.parametrize(
    ("is_terminal", "quiet", "kind"),
    [(True, False, LiveBar), (False, False, EpochLines), (True, True, TrialLines), (False, True, TrialLines)],
)
def test_the_view_is_for_a_person_or_for_a_log(monkeypatch, is_terminal, quiet, kind):
    monkeypatch.setattr(cli, "make_console", lambda to_stderr: terminal() if is_terminal else log())
    assert type(live_view.make_views(1, is_main=True, quiet=quiet)[0]) is kind


@pytest.mark.parametrize(
    ("variable", "value", "console"),
    [("FORCE_COLOR", "1", log), ("TTY_COMPATIBLE", "1", log), ("TERM", "dumb", terminal)],
)
def test_a_bar_is_drawn_where_it_can_be_redrawn(monkeypatch, variable, value, console):
    """Workflows of CI set the first two for the colours of their logs."""
    monkeypatch.setenv(variable, value)
    monkeypatch.setattr(cli, "make_console", lambda to_stderr: console())
    assert type(live_view.make_views(1, is_main=True)[0]) is EpochLines


def test_interleaved_runs_in_a_log_have_a_line_for_each_trial(monkeypatch):
    monkeypatch.setattr(cli, "make_console", lambda to_stderr: log())
    views = live_view.make_views(2, is_main=True, interleaved=True)
    assert [type(view) for view in views] == [TrialLines] * 2


def test_a_launched_process_sends_its_trials_and_lines(monkeypatch, clock):
    sent = []
    monkeypatch.setenv(events.REPORTS, "1")
    monkeypatch.setattr(events, "send", sent.append)
    view = live_view.make_views(1, is_main=True)[0]
    view.start_run("digits/quick", 3)
    clock.now += 2.5
    view.trial_finished(trial())
    view.line("a line")
    assert sent == [
        events.TrialFinished("digits/quick", 1, 3, 5, "missed", 0.9125, 2.5),
        events.Message("digits/quick", "a line"),
    ]


def test_with_json_the_lines_go_to_standard_error(capsys):
    view = live_view.make_views(1, is_main=True, quiet=True, as_json=True)[0]
    view.start_run("digits/quick", 1)
    view.line("a line")
    assert capsys.readouterr() == ("", "digits/quick: a line\n")


def test_lines_do_not_hook_into_the_steps():
    assert not hasattr(TrialLines, "step_end")
    assert not hasattr(EpochLines, "step_end")


def test_only_the_main_process_prints(capsys):
    for is_main in (False, True):
        view = live_view.make_views(1, is_main=is_main, quiet=True)[0]
        view.start_run("x" * 150, 1)
        view.line("a line")
    assert capsys.readouterr().out == "x" * 150 + ": a line\n"
