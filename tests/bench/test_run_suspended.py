"""bench/run.py that is suspended in the middle of a trial, with all of its processes, as Slurm does it."""

import time

import psutil
import pytest

from results import marks
from tests.bench.conftest import ONE_THREAD, RUN, TIMEOUT, launch, only_run, wait

WAITS = """
import os
import time


def train(run=None):
    open("began", "w").close()
    while not os.path.exists("go on"):
        time.sleep(0.01)
    return 0.9


if __name__ == "__main__":
    print('{"accuracy": %s}' % train())
"""
SECONDS = 3.0
"""that it is suspended"""


@pytest.mark.parametrize("words", [["mine.py:train"], ["--command", "python mine.py"]])
def test_a_trial_that_was_suspended_goes_on_and_is_marked(tmp_path, words):
    (tmp_path / "mine.py").write_text(WAITS)
    process = launch(RUN, *words, "--target", "0.5", "--trials", "1", *ONE_THREAD, cwd=tmp_path)
    end = time.monotonic() + TIMEOUT
    while not (tmp_path / "began").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.01)
    root = psutil.Process(process.pid)
    family = [root, *root.children(recursive=True)]
    for one in family:
        one.suspend()
    time.sleep(SECONDS)
    (tmp_path / "go on").touch()
    for one in family:
        one.resume()
    ended = wait(process)
    assert ended.status == 0, ended
    (trial,) = only_run(tmp_path / "runs").trials
    assert trial.outcome == "reached"
    assert SECONDS - 2 < trial.suspended_seconds < sum(lap.seconds for lap in trial.laps)
    assert marks.counts([trial])["suspended"] == 1
    assert "§ a process was suspended during a trial" in " ".join(ended.out.split())
