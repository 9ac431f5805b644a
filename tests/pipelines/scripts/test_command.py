"""A command under the clock: what it says, what it takes, and how it can go wrong."""

import contextlib
import os
import selectors
import shlex
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from pipelines.host.suspension import AwakeClock
from pipelines.recipe.scripts import Command
from pipelines.scripts import command
from pipelines.scripts.command import CommandTrainer, Usage
from tests.pipelines.processes import wait_for_end

ROOT = Path(__file__).resolve().parents[3]


def python(code):
    """A command line that runs Python code."""
    return f"{shlex.quote(sys.executable)} -S -c {shlex.quote(code)} {{seed}}"


def train(code, seed=3, timeout=60, **settings):
    return CommandTrainer(Command(command=python(code), target=0.6, **settings), timeout).run_trial(seed)


@pytest.fixture
def seen(monkeypatch, tmp_path):
    """Makes a file that is there as soon as a look at the processes of a command has found what the test waits for."""

    def make(is_found):
        path = tmp_path / "seen"

        class Watched(Usage):
            def __setattr__(self, name, value):
                super().__setattr__(name, value)
                if name == "processes" and is_found(self):  # the last that a look sets
                    path.touch()

        monkeypatch.setattr(command, "Usage", Watched)
        return path

    return make


def wait_for(path):
    """A line of Python code."""
    return f"while not os.path.exists({str(path)!r}): time.sleep(0.01)"


PARENT = """
import sys
from pathlib import Path
from pipelines.recipe.scripts import Command
from pipelines.scripts.command import CommandTrainer
trainer = CommandTrainer(Command(command=sys.argv[1], target=0.6), 60)
trainer.run_trial(0, lambda reported: Path("read").touch())
"""


def test_a_command_and_its_children_end_when_its_parent_is_killed(tmp_path):
    code = "import os, subprocess, time; child = subprocess.Popen(['sleep', '1000']); "
    code += "open('numbers', 'w').write(f'{os.getpid()} {child.pid}'); print('{\"epoch\": 1}'); time.sleep(1000)"
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, python(code)], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    while not (tmp_path / "read").exists():
        assert parent.poll() is None
        time.sleep(0.02)
    parent.kill()
    parent.wait()
    wait_for_end([int(number) for number in (tmp_path / "numbers").read_text().split()])


def test_a_trial_is_the_whole_process_and_what_it_says():
    trial = train("""
import json, sys, time
for epoch in (1, 2):
    time.sleep(0.1)
    print(json.dumps({"epoch": epoch, "accuracy": 0.1 * int(sys.argv[1]) * epoch, "seconds": epoch / 100}))
""")
    assert (trial.seed, trial.outcome, trial.accuracy) == (3, "reached", pytest.approx(0.6))
    whole, *said = trial.laps
    assert (whole.name, whole.epoch) == ("command", None)
    assert whole.seconds > 0.2
    assert [(lap.name, lap.epoch, lap.seconds) for lap in said] == [("train", 1, 0.01), ("train", 2, 0.01)]


def test_the_seed_is_in_the_environment_too():
    assert train('import os; print(\'{"accuracy": 0.\' + os.environ["PACELINE_SEED"] + "}")').accuracy == 0.3


def test_time_and_memory_are_of_all_its_processes(seen):
    path = seen(lambda usage: usage.processes == 2 and usage.peak_bytes > 200_000_000)
    code = f"""
import os, time
if not os.fork():
    block = bytearray(200_000_000)
    start = time.process_time()
    while time.process_time() < start + 0.2: pass
    {wait_for(path)}
    os._exit(0)
os.wait()
print('{{"accuracy": 0.7}}')
"""
    trial = train(code)
    assert trial.peak_host_bytes > 200_000_000
    assert trial.notes["user_seconds"] + trial.notes["system_seconds"] > 0.2
    assert trial.notes["processes"] == 2
    assert trial.notes["left_running"] == 0


def test_metrics_can_be_in_a_file(tmp_path):
    code = f"import sys; open({str(tmp_path)!r} + '/' + sys.argv[1], 'w').write('{{\"accuracy\": 0.7}}')"
    trial = train(code, metrics=f"json:{tmp_path}/{{seed}}")
    assert (trial.outcome, trial.accuracy) == ("reached", 0.7)
    assert train("pass", metrics=f"json:{tmp_path}/nowhere").reason.startswith("wrote no ")


@pytest.mark.parametrize(
    ("code", "outcome", "reason"),
    [
        ("print('{\"accuracy\": 0.5}')", "missed", None),
        ("print('{\"accuracy\": NaN}')", "diverged", "the accuracy at the end is NaN"),
        ('print(\'{"epoch": 1, "accuracy": 0.9, "loss": NaN}\')', "diverged", "the training loss of epoch 1 is nan"),
        (
            'print(\'{"epoch": 1, "seconds": NaN}\')',
            "failed",
            "impossible result: seconds=nan is not a finite number",
        ),
        ("print('training')", "failed", "gave no accuracy; its last line is 'training'"),
        ("pass", "failed", "gave no accuracy, and no output at all"),
        ("import sys; sys.exit('no data')", "failed", "ended with status 1: no data"),
        ("import os; os.kill(os.getpid(), 9)", "failed", "ended with status 137"),
        ('print(\'{"epoch": 2}\\n{"epoch": 1}\')', "failed", "impossible result: epoch 1 is reported after epoch 2"),
    ],
)
def test_what_comes_out_of_it_is_one_outcome(code, outcome, reason):
    trial = train(code)
    assert (trial.outcome, trial.reason) == (outcome, reason)
    assert trial.laps[0].name == "command"


def test_a_program_that_is_not_there():
    trial = CommandTrainer(Command(command="/nowhere/train", target=0.5), 60).run_trial(0)
    assert (trial.outcome, trial.reason) == ("failed", "/nowhere/train cannot be started: No such file or directory")


@pytest.mark.parametrize(
    "code", ["import time; time.sleep(600)", "import os, time; os.close(1); os.close(2); time.sleep(600)"]
)
def test_a_command_that_hangs_is_ended(code):
    trial = train(code, timeout=1)
    assert (trial.outcome, trial.reason) == ("failed", "printed nothing for 1 s, and was ended (--timeout)")


def test_a_flood_of_output_is_read_and_forgotten():
    code = "print('x' * 50_000_000); [print('y' * 99) for _ in range(100_000)]; print('{\"accuracy\": 0.7}')"
    assert train(code).outcome == "reached"


@pytest.mark.parametrize("end", ["\\n", "\\r", ""])
def test_an_endless_flood_is_ended(monkeypatch, end):
    monkeypatch.setattr(command, "MOST_BYTES", 1_000_000)
    trial = train(f"while True: print('y' * 99, end='{end}')")
    assert (trial.outcome, trial.reason) == ("failed", "printed more than 1,000,000 bytes, and was ended")


def test_processes_that_outlive_it_are_killed_and_counted(monkeypatch, tmp_path, seen):
    monkeypatch.setattr(command, "PATIENCE", 0.5)
    code = f"""
import os, time
left = []
for _ in range(2):
    if not (number := os.fork()):
        os.setsid()
        time.sleep(600)
        os._exit(0)
    left.append(number)
open({str(tmp_path / "numbers")!r}, 'w').write(f'{{left[0]}} {{left[1]}}')
{wait_for(seen(lambda usage: usage.processes == 3))}
print('{{"accuracy": 0.7}}')
"""
    before = time.monotonic()
    trial = train(code)
    lasted = time.monotonic() - before
    assert (trial.outcome, trial.notes["left_running"]) == ("reached", 2)
    assert lasted < 60
    assert trial.laps[0].seconds < lasted - command.PATIENCE, "the time ends with the command"
    wait_for_end([int(number) for number in (tmp_path / "numbers").read_text().split()])


def test_silence_while_paceline_was_suspended_is_none(monkeypatch):
    """The command was suspended too. An hour passes between two looks that find nothing."""
    looks = []

    def now():
        looks.append(time.monotonic() + (3600 if len(looks) > 3 else 0))
        return looks[-1]

    monkeypatch.setattr(command.suspension, "AwakeClock", partial(AwakeClock, now=now, active=lambda: 0.0))
    trial = train("import time; time.sleep(1); print('{\"accuracy\": 0.7}')")
    assert (trial.outcome, trial.reason) == ("reached", None)
    assert max(looks) - min(looks) > 3600


def test_a_daemon_that_holds_the_output_open_is_not_waited_for(monkeypatch, tmp_path):
    monkeypatch.setattr(command, "PATIENCE", 0.5)
    code = f"""
import os, time
print('{{"accuracy": 0.7}}')
if not os.fork():
    os.setsid()
    if daemon := os.fork():
        open({str(tmp_path / "daemon")!r}, 'w').write(str(daemon))
        os._exit(0)
    time.sleep(100)
os.wait()
"""
    before = time.monotonic()
    trial = train(code)
    assert time.monotonic() - before < 60
    assert (trial.outcome, trial.accuracy) == ("reached", 0.7)
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(int((tmp_path / "daemon").read_text())).kill()


def test_a_process_that_it_leaves_and_that_prints_on_is_not_waited_for(monkeypatch, seen):
    monkeypatch.setattr(command, "PATIENCE", 0.5)
    monkeypatch.setattr(command, "MOST_BYTES", 1_000_000)
    code = f"""
import os, time
if not os.fork():
    while True:
        os.write(1, b"y\\n")  # print writes a line in two parts, between which the other process's may come
        time.sleep(0.01)
{wait_for(seen(lambda usage: usage.processes == 2))}
os.write(1, b'{{"accuracy": 0.7}}\\n')
"""
    trial = train(code)
    assert (trial.outcome, trial.notes["left_running"]) == ("reached", 1)


def test_what_it_printed_before_it_ended_is_read_however_late(monkeypatch):
    """A busy machine may not let the reader run for longer than its patience."""

    class Late(selectors.DefaultSelector):
        looks = 0

        def select(self, timeout=None):
            self.looks += 1
            if self.looks == 1:  # it prints and ends just after this look
                process.wait()
                return []
            time.sleep(0.1)
            return super().select(timeout)

    monkeypatch.setattr(command, "PATIENCE", 0.05)
    monkeypatch.setattr(command.selectors, "DefaultSelector", Late)
    code = "import os, time\nif not os.fork(): time.sleep(60)\nprint('last')\n"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True) as process:
        assert list(command._lines(process, 60)) == ["last"]
        os.killpg(process.pid, signal.SIGKILL)


def test_a_progress_bar_is_output(monkeypatch):
    """A look takes 25 s of this clock, and every other one comes before there is something to read."""

    class Looks(selectors.DefaultSelector):
        seconds = 0

        def select(self, timeout=None):
            Looks.seconds += 25
            return [] if Looks.seconds % 50 else super().select(60)

    clock = SimpleNamespace(monotonic=lambda: Looks.seconds, perf_counter=time.perf_counter)
    monkeypatch.setattr(command, "time", clock)
    monkeypatch.setattr(command.selectors, "DefaultSelector", Looks)
    code = "import time\nfor step in range(20): print(f'\\r{step}', end=''); time.sleep(0.01)\n"
    trial = train(code + "print('\\r', end='')\nprint('{\"accuracy\": 0.7}')", timeout=60)
    assert (trial.outcome, trial.reason) == ("reached", None)


def test_the_last_line_needs_no_end():
    assert train("print('{\"accuracy\": 0.7}', end='')").accuracy == 0.7


def test_a_file_of_an_earlier_trial_does_not_count(tmp_path):
    file = tmp_path / "3"
    file.write_text('{"accuracy": 0.9}')
    write = f"open({str(file)!r}, 'w').write('{{\"accuracy\": 0.9}}')"
    old, new = (train(code, metrics=f"json:{tmp_path}/{{seed}}") for code in ("pass", write))
    assert (old.outcome, old.accuracy) == ("failed", None)
    assert old.reason == f"wrote no {file}: it is as before the trial"
    assert (new.outcome, new.accuracy) == ("reached", 0.9)


def test_a_command_that_ends_before_it_writes_its_file_says_its_status(tmp_path):
    trial = train("import sys; sys.exit('no data')", metrics=f"json:{tmp_path}/nowhere")
    assert trial.reason == "ended with status 1: no data"


def test_an_epoch_whose_accuracy_is_nan_has_none():
    trial = train('print(\'{"epoch": 1, "accuracy": NaN}\\n{"epoch": 2, "accuracy": 0.7}\')')
    assert ([one.accuracy for one in trial.epochs], trial.outcome) == ([None, 0.7], "reached")
