"""Tasks in child processes: what a trial returns, and trials that fail or hang."""

import pytest

from bench.training.tasks import Failure, TrialTask
from results.record import Run
from tests.bench.conftest import SMALL
from tests.bench.training.test_launch import check_all_end

HANGS = """
import os, time

def train(run):
    open(f"{run.seed}.pid", "w").write(str(os.getpid()))
    time.sleep(1000)
"""


def task(tmp_path, *words, seed=0, **changes):
    return TrialTask(("digits/quick", *SMALL, *words), seed, tmp_path, **changes)


@pytest.mark.slow
def test_a_trial_returns_what_was_recorded(tmp_path):
    found = task(tmp_path, seed=7).train(at_a_time=2)
    assert isinstance(found.run, Run)
    (trial,) = found.run.trials
    assert (trial.seed, found.run.record.world_size) == (7, 1)
    assert found.run.record.environment.machine_class.endswith(", 2 runs at a time")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_trial_of_several_processes_is_started_by_torchrun(tmp_path):
    found = task(tmp_path, processes=2).train()
    assert found.run.record.world_size == 2


@pytest.mark.slow
def test_a_trial_that_fails_says_why_in_one_line(tmp_path):
    found = task(tmp_path, "--data-dir", "nowhere", "data.name=folder", "data.path=nowhere").train()
    assert isinstance(found, Failure)
    assert found.status == 2
    assert "nowhere" in found.reason
    assert "\n" not in found.reason


@pytest.mark.slow
def test_a_trial_that_hangs_is_stopped(tmp_path):
    (tmp_path / "mine.py").write_text(HANGS)
    hanging = TrialTask(("mine.py:train", "target=0.5"), 0, tmp_path, timeout=20)
    assert hanging.train() == Failure(2, "did not end within --timeout 20 s")
    check_all_end([int(path.read_text()) for path in tmp_path.glob("*.pid")])
