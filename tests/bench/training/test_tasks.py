"""Tasks in child processes: what a trial returns, and trials that fail or hang."""

import itertools
from functools import partial

import pytest

from bench.training import tasks
from bench.training.tasks import Failure, TrialTask
from pipelines.host.suspension import AwakeClock
from results.record import Run
from tests.bench.conftest import SMALL
from tests.bench.training.test_launch import children_now, launch_of


def task(tmp_path, *words, seed=0, **changes):
    return TrialTask(("digits/quick", *SMALL, *words), seed, tmp_path, **changes)


@pytest.mark.slow
def test_a_trial_of_several_processes_returns_what_was_recorded(tmp_path):
    """torchrun starts them. tests/bench/test_sweep.py trains in one process."""
    found = task(tmp_path, seed=7, processes=2).train(at_a_time=2)
    assert isinstance(found.run, Run)
    (trial,) = found.run.trials
    assert (trial.seed, found.run.record.world_size) == (7, 2)
    assert found.run.record.environment.machine_class.endswith(", 2 runs at a time")
    assert not list(tmp_path.iterdir())


@pytest.fixture
def task_of(tmp_path, monkeypatch):
    """Makes a task that starts this program instead of bench/run.py."""

    def make(program, **changes):
        monkeypatch.setattr(TrialTask, "launch", lambda task, out, at_a_time: launch_of(tmp_path, program))
        return task(tmp_path, **changes)

    return make


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (["a warning", "bench/run.py: error: no data", "the launcher's own words"], "bench/run.py: error: no data"),
        (["a warning", "killed"], "killed"),
        (["a warning", "by signal 9", "=========="], "by signal 9"),
        ([], "ended with status 2"),
    ],
)
def test_a_trial_that_fails_says_why_in_one_line(task_of, lines, reason):
    program = f"print(*{lines!r}, sep='\\n', file=sys.stderr)\nsys.exit(2)"
    assert task_of(program).train() == Failure(2, reason)


def test_a_trial_that_is_killed_says_so(task_of):
    program = "print('a warning', file=sys.stderr, flush=True)\nos.kill(os.getpid(), 9)"
    assert task_of(program).train() == Failure(137, "was ended by signal 9 (Killed)")


def test_a_high_status_that_is_of_no_signal_is_a_status(task_of):
    assert task_of("os._exit(255)").train() == Failure(255, "ended with status 255")


def test_time_in_which_all_were_suspended_does_not_count(task_of, monkeypatch):
    """An hour passes between two looks."""
    hour = itertools.chain([0.0], itertools.repeat(3600.0))
    clock = partial(AwakeClock, now=lambda: next(hour), active=lambda: 0.0)
    monkeypatch.setattr(tasks, "AwakeClock", clock)
    monkeypatch.setattr(tasks, "INTERVAL", 0.01)
    assert task_of("time.sleep(0.3)\nsys.exit(2)", timeout=600).train() == Failure(2, "ended with status 2")


def test_a_trial_that_hangs_is_stopped(task_of):
    before = children_now()
    assert task_of("time.sleep(1000)", timeout=0.5).train() == Failure(2, "did not end within --timeout 0.5 s")
    assert children_now() <= before
