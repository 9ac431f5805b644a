"""A function of the user's own: its file, its trials."""

import contextlib
import io
import os
import signal
import sys
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

import results
from pipelines.distributed.process_group import World
from pipelines.host.suspension import AwakeClock
from pipelines.host.torch_settings import TorchSettings
from pipelines.recipe.scripts import Function
from pipelines.scripts import function, timeouts
from pipelines.scripts.function import FunctionTrainer
from pipelines.scripts.run import Run, ScriptError
from tests.pipelines.scripts.conftest import TRAIN

pytestmark = pytest.mark.usefixtures("modules_as_before")


def test_a_trial_has_the_laps_epochs_and_outcome_of_the_function(trainer):
    trial = trainer().run_trial(seed=5)
    assert (trial.seed, trial.outcome, trial.accuracy, trial.target) == (5, "reached", 0.8, 0.8)
    assert [(lap.name, lap.epoch) for lap in trial.laps] == [("train", 1), ("train", 2)]
    assert [(one.epoch, one.accuracy, one.train_loss) for one in trial.epochs] == [(1, 0.4, 1.0), (2, 0.8, 0.5)]
    assert trial.notes["seconds"] > trial.notes["seconds_outside_laps"] > 0


class OneLapLess(World):
    """Sees another process that ended a lap earlier."""

    def gather(self, value):
        return [value, value[:-1]]


def test_processes_that_timed_different_laps_are_refused():
    run = Run(seed=0, device=torch.device("cpu"), target=0.8)
    for epoch in (1, 2):
        with run.lap("train", epoch):
            pass
    with pytest.raises(ScriptError, match="mine.py:train: the processes timed different laps"):
        function.finish(run, 0.9, 1.0, "mine.py:train", OneLapLess())


def test_under_the_target_it_missed(trainer):
    assert trainer(target=0.81).run_trial(0).outcome == "missed"


def test_a_function_without_laps_is_one_lap(trainer):
    trial = trainer("def train(run): return 0.9").run_trial(0)
    assert [(lap.name, lap.seconds) for lap in trial.laps] == [("train", trial.notes["seconds"])]
    assert trial.notes["seconds_outside_laps"] == 0


def test_the_last_reported_accuracy_stands_for_a_value_that_is_not_returned(trainer):
    assert trainer("def train(run): run.evaluated(1, accuracy=0.7)").run_trial(0).accuracy == 0.7


@pytest.mark.parametrize("draw", ["__import__('random').random()", "numpy.random.rand()", "torch.rand(()).item()"])
def test_a_seed_decides_what_is_drawn(trainer, draw):
    one = trainer(f"import numpy, torch\ndef train(run): return {draw}")
    first, again, other = (one.run_trial(seed).accuracy for seed in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("return float('nan')", "the accuracy at the end is NaN"),
        ("run.evaluated(2, accuracy=0.5, loss=float('nan')); return 0.5", "the training loss of epoch 2 is nan"),
        ("run.evaluated(1, accuracy=float('nan'))", "the accuracy at the end is NaN"),
    ],
)
def test_nan_is_a_divergence(trainer, body, reason):
    trial = trainer(f"def train(run): {body}").run_trial(0)
    assert (trial.outcome, trial.reason) == ("diverged", reason)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("pass", "mine.py:train: gave no accuracy: return it, or report it with run.evaluated"),
        ("return 94.1", "returned a value that is 94.1: an accuracy is a fraction from 0 to 1"),
        ("return 'good'", "returned a value that is 'good': an accuracy is a number from 0 to 1"),
        ("{}['lr']", "mine.py:train: line 3: KeyError: 'lr'"),
        ("import sys; sys.exit(1)", "mine.py:train: line 3: SystemExit: 1"),
        ("run.lap('train').__enter__(); return 0.5", r"run\.lap\('train'\) was left open"),
        ("run.lap('train')", r"run\.lap\('train'\) was left open"),
        ("with run.lap('train'), run.lap('train'): pass", r"line 3: run\.lap\('train'\) while run\.lap\('train'\)"),
        ("run.evaluated(2); run.evaluated(1)", "epoch 1 is reported after epoch 2"),
        (
            "run.notes['x'] = run; return 0.5",
            "run.notes must be a dictionary of JSON values: Object of type Run is not",
        ),
        ("run.notes = [1]; return 0.5", "run.notes must be a dictionary of JSON values, not list"),
        ("run.lap('train', 0.5)", r"run\.lap\('train', 0\.5\): an epoch is a whole number"),
        ("run.steps = 1.5; return 0.5", "run.steps is 1.5: it must be a whole number"),
        ("run.samples = -1; return 0.5", "run.samples is -1: it cannot be negative"),
    ],
)
def test_what_a_function_does_wrong_is_one_line(trainer, body, words):
    with pytest.raises(ScriptError, match=words) as raised:
        trainer(f"\ndef train(run):\n    {body}\n").run_trial(0)
    assert "\n" not in str(raised.value)


UNKNOWN_TYPE = """
from __future__ import annotations
from typing import TYPE_CHECKING
import dataclasses, pydantic
if TYPE_CHECKING:
    from pathlib import Path
{}
class Config({}):
    folder: Path = None
def train(run, config: Config): pass
"""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def trian(run): pass", r"mine\.py: has no function 'train'; did you mean trian\?"),
        ("from math import sqrt as train_it", "has no function 'train'; its functions are none"),
        ("train = 3", "has no function 'train'"),
        ("def train(run:", r"mine\.py:1: is not Python: "),
        ("import nowhere_to_be_found", "cannot be imported: line 1: ModuleNotFoundError: No module named"),
        ("def train(): pass", "must take the run as its first argument: def train"),
        ("def train(run, *rest): pass", r"\*rest cannot be set by name"),
        (
            "from __future__ import annotations\nfrom paceline import trial\ndef train(run: trial.Rum): pass",
            "mine.py:train: its signature cannot be read: AttributeError: .*Rum",
        ),
        (UNKNOWN_TYPE.format("@dataclasses.dataclass", ""), "the fields of Config cannot be read: NameError: .*Path"),
        (UNKNOWN_TYPE.format("", "pydantic.BaseModel"), "the fields of Config cannot be read: .*Path"),
        ("def train(run, folders: list['Nowhere'] = ()): pass", "its arguments cannot be read: .*Nowhere"),
    ],
)
def test_a_file_that_will_not_do_is_one_line(trainer, text, words):
    with pytest.raises(ScriptError, match=words) as raised:
        trainer(text)
    assert "\n" not in str(raised.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ScriptError, match=r"nowhere\.py: there is no such file"):
        FunctionTrainer(Function(entry=f"{tmp_path}/nowhere.py:train", target=0.5), World())


def test_the_hash_changes_with_the_text_the_arguments_and_the_target(trainer):
    hashes = [
        trainer().config.hash,
        trainer(arguments={"lr": 0.4}).config.hash,
        trainer(target=0.7).config.hash,
        trainer(TRAIN + "\n# changed").config.hash,
    ]
    assert len(set(hashes)) == 4
    assert trainer(arguments={"lr": 0.5}).config.hash == hashes[0], "a default that is given"


def test_a_file_that_has_changed_since_is_refused(trainer, tmp_path):
    before = trainer().config
    (tmp_path / "mine.py").write_text(TRAIN + "# changed")
    with pytest.raises(ScriptError, match=r"mine\.py: has changed since this run began"):
        FunctionTrainer(before, World())


def test_warm_up_is_called_with_the_arguments_and_timed_as_compile(trainer):
    one = trainer("calls = []\ndef warm_up(run, lr): calls.append(lr)\ndef train(run, lr=2): return len(calls) / 10")
    assert one.warm_up().name == "compile"
    assert one.run_trial(0).accuracy == 0.1
    assert trainer().warm_up() is None


def test_the_settings_of_torch_that_a_file_makes_are_in_force_in_its_trials_alone(trainer):
    before = TorchSettings.capture()
    one = trainer("""
        import torch
        torch.set_default_dtype(torch.float64)
        torch.backends.cudnn.deterministic = True
        def train(run):
            torch.set_grad_enabled(False)
            return float(torch.zeros(()).dtype == torch.float64 and torch.backends.cudnn.deterministic)
        """)
    assert TorchSettings.capture() == before
    assert one.run_trial(0).accuracy == 1
    assert TorchSettings.capture() == before
    assert torch.is_grad_enabled()


@pytest.fixture
def settings_as_before():
    before = TorchSettings.capture()
    yield
    before.apply()


@pytest.mark.usefixtures("settings_as_before")
@pytest.mark.parametrize(
    ("owner", "switch"),
    [(torch.backends.cudnn, "cudnn.benchmark"), (torch.backends.cuda.matmul, "cuda.matmul.allow_tf32")],
)
def test_what_a_recipe_set_before_is_not_in_force_in_the_file_or_its_trials(trainer, monkeypatch, owner, switch):
    name = switch.rpartition(".")[2]
    at_start = getattr(owner, name)
    monkeypatch.setattr(function, "AT_START", TorchSettings.capture())
    setattr(owner, name, not at_start)
    ours = TorchSettings.capture()
    one = trainer(f"""
        import torch
        IN_FILE = torch.backends.{switch}
        def train(run):
            return float(IN_FILE == torch.backends.{switch} == {at_start})
        """)
    assert TorchSettings.capture() == ours
    assert one.run_trial(0).accuracy == 1
    assert TorchSettings.capture() == ours


def test_a_file_that_raises_leaves_the_settings_of_torch_as_they_were(trainer, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", not torch.backends.cudnn.benchmark)
    before = TorchSettings.capture()
    with pytest.raises(ScriptError, match="cannot be imported"):
        trainer("import torch\ntorch.set_default_dtype(torch.float64)\nraise ValueError")
    assert TorchSettings.capture() == before


def test_the_number_of_threads_is_paceline_s(trainer, monkeypatch):
    threads = torch.get_num_threads()
    monkeypatch.setattr(function, "AT_START", replace(TorchSettings.capture(), threads=threads + 1))
    text = f"import torch\ndef train(run): return float(torch.get_num_threads() == {threads})"
    assert trainer(text).run_trial(0).accuracy == 1


def test_a_module_beside_the_file_is_found(trainer, tmp_path):
    (tmp_path / "helper_of_mine.py").write_text("ACCURACY = 0.25")
    assert trainer("from helper_of_mine import ACCURACY\ndef train(run): return ACCURACY").run_trial(0).accuracy == 0.25


@pytest.mark.parametrize("statement", ["import results", "from results import mine", "import results.mine"])
def test_a_module_called_like_one_of_paceline_is_refused_by_name(trainer, tmp_path, statement):
    (tmp_path / "results.py").write_text("")
    with pytest.raises(ScriptError, match=r"mine\.py:1: imports results, which is also a package of Paceline: rename"):
        trainer(f"{statement}\n{TRAIN}")


def test_a_file_in_the_root_of_the_checkout_imports_paceline_itself(trainer, tmp_path, monkeypatch):
    (tmp_path / "paceline").mkdir()
    monkeypatch.setattr(function, "CHECKOUT", tmp_path)
    assert trainer(f"from paceline import trial\n{TRAIN}").run_trial(0).accuracy == 0.8


def test_a_file_may_be_called_like_a_package(tmp_path):
    (tmp_path / "results.py").write_text(TRAIN)
    one = FunctionTrainer(Function(entry=f"{tmp_path}/results.py:train", target=0.5), World())
    assert one.run_trial(0).accuracy == 0.8
    assert sys.modules["results"] is results


def test_the_data_set_is_handed_over(trainer):
    one = trainer("def train(run): return run.dataset() / 2", load=lambda: 1.0)
    assert one.run_trial(0).accuracy == 0.5


def test_a_trial_begins_with_the_images_that_the_one_before_began_with(trainer):
    images = np.array([0.25, 0.5])
    one = trainer("def train(run): images = run.dataset(); images *= 2; return images[0]", load=lambda: images)
    assert [one.run_trial(seed).accuracy for seed in range(2)] == [0.5, 0.5]


def test_observers_hear_of_each_epoch(trainer):
    heard = []

    class Observer:
        def epoch_end(self, progress):
            heard.append((progress.seed, progress.step, progress.steps, progress.history[-1].accuracy))

    trainer().run_trial(7, [Observer()])
    assert heard == [(7, 1, 2, 0.4), (7, 2, 2, 0.8)]


def test_a_file_that_reads_itself_and_parses_its_command_line_finds_its_own_path(trainer, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["bench/run.py", "mine.py:train", "--target", "0.5"])
    text = """
        import argparse
        import sys

        with open(sys.argv[0]) as file:
            code = file.read()


        def train(run):
            parser = argparse.ArgumentParser()
            parser.add_argument("--accuracy", type=float, default=0.75)
            return parser.parse_args().accuracy if "argparse" in code else 0.0
    """
    assert trainer(text).run_trial(0).accuracy == 0.75
    assert sys.argv == ["bench/run.py", "mine.py:train", "--target", "0.5"]


def test_the_working_directory_is_as_before(trainer, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trainer("import os\ndef train(run):\n    os.chdir('/')\n    return 0.5").run_trial(0)
    assert Path.cwd() == tmp_path


def test_a_forked_process_that_comes_back_is_ended(trainer, capfd):
    text = """
        import os

        def train(run):
            process = os.fork()
            if process:
                return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) / 2
            return 0.9
    """
    assert trainer(text).run_trial(0).accuracy == 0.5, "the other one ended with status 1"
    assert "a process that the function forked came back from it, and was ended" in capfd.readouterr().err


ASKS = {
    "a function": "def train(run):\n    return float(input('accuracy? '))",
    "a file": "accuracy = float(input('accuracy? '))\ndef train(run):\n    return accuracy",
    "its warm-up": "def warm_up(run): input()\ndef train(run):\n    return 0.5",
    "a stream that it kept": "from sys import stdin\ndef train(run):\n    return float(stdin.readline() or 'x')",
}


@pytest.fixture
def answered(monkeypatch):
    """Standard input where somebody has typed 0.5, and the next one reads it."""
    reading, writing = os.pipe()
    os.write(writing, b"0.5\n")
    kept = os.dup(0)
    os.dup2(reading, 0)
    with open(0, encoding="utf-8", closefd=False) as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        yield
        assert sys.stdin is stream
        assert stream.readline() == "0.5\n"
    os.dup2(kept, 0)
    for number in (reading, writing, kept):
        os.close(number)


def test_at_a_terminal_somebody_answers(trainer, monkeypatch):
    keyboard, terminal = os.openpty()
    os.write(keyboard, b"0.5\n")
    with os.fdopen(terminal, encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        assert trainer(ASKS["a function"]).run_trial(0).accuracy == 0.5
    os.close(keyboard)


@pytest.mark.usefixtures("answered")
@pytest.mark.parametrize("what", ASKS)
def test_nobody_answers_what_asks(trainer, what):
    error = "ValueError: could not convert string" if "kept" in what else "EOFError: EOF when reading a line"
    with pytest.raises(ScriptError, match=error):
        asking = trainer(ASKS[what])
        asking.warm_up()
        asking.run_trial(0)


@pytest.mark.usefixtures("answered")
def test_a_process_that_a_function_starts_has_no_input_either(trainer):
    text = """
        import subprocess

        def train(run):
            return 0.5 + len(subprocess.run(["cat"], stdout=subprocess.PIPE, timeout=60).stdout)
    """
    assert trainer(text).run_trial(0).accuracy == 0.5


def is_watched():
    """Whether something would end a function that hangs."""
    threads = {thread.name for thread in threading.enumerate()}
    return "suspension" in threads or signal.getsignal(signal.SIGALRM) is not signal.SIG_DFL


HANGS = """
    import time

    def train(run, seconds: float = 30.0):
        for epoch in run.epochs(3):
            with run.lap("train", epoch):
                time.sleep(seconds)
            run.evaluated(epoch, accuracy=0.5)
"""


def test_a_function_that_hangs_is_ended(trainer):
    with pytest.raises(ScriptError, match=r"no lap began or ended, and nothing was reported, for 0\.2 s \(--timeout"):
        trainer(HANGS, timeout=0.2).run_trial(0)
    assert not is_watched()


def test_the_line_at_which_it_hangs_is_named(trainer):
    text = "import signal\ndef train(run):\n    signal.raise_signal(signal.SIGALRM)  # as the alarm that is set does"
    with pytest.raises(ScriptError, match=r"line 3: no lap began or ended, and nothing was reported, for 600 s"):
        trainer(text, timeout=600.0).run_trial(0)


def test_a_function_that_reports_goes_on(trainer):
    trial = trainer(HANGS, timeout=10.0, arguments={"seconds": 0.01}).run_trial(0)
    assert trial.accuracy == 0.5
    assert not is_watched()


def test_standard_output_that_is_closed_is_an_error(trainer, monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    with pytest.raises(ScriptError, match="closed standard output"):
        trainer("import sys\ndef train(run):\n    sys.stdout.close()\n    return 0.5").run_trial(0)


def test_notes_are_kept_as_json_has_them(trainer):
    trial = trainer("def train(run):\n    run.notes['hits'] = {0: 12, 1: (3, None)}\n    return 0.5").run_trial(0)
    assert trial.notes["hits"] == {"0": 12, "1": [3, None]}


def test_nothing_waits_for_a_sign_after_a_trial():
    run = Run(seed=0, device=torch.device("cpu"), target=0.5)
    with timeouts.limited(10.0, run):
        assert is_watched()
    with run.lap("train"):
        pass
    assert not is_watched()


@pytest.mark.parametrize("was_suspended", [True, False])
def test_silence_while_the_process_was_suspended_is_none(monkeypatch, was_suspended):
    """An hour passes between two looks: the process was suspended, or it has computed."""
    run, hour, looks = Run(seed=0, device=torch.device("cpu"), target=0.5), 0.0, []

    def now():
        looks.append(hour)
        return hour

    monkeypatch.setattr(timeouts, "INTERVAL", 0.001)
    clock = partial(AwakeClock, now=now, active=lambda: 0.0 if was_suspended else hour)
    monkeypatch.setattr(timeouts, "AwakeClock", clock)
    ended = contextlib.nullcontext() if was_suspended else pytest.raises(ScriptError, match="for 600 s")
    with ended, timeouts.limited(600.0, run):
        hour = 3600.0
        while looks.count(hour) < 5:
            time.sleep(0.001)
        assert was_suspended


class Rank(World):
    """One of two processes, of which rank 0 gave an accuracy of 0.7."""

    def broadcast_object(self, value):
        assert self.rank or value == 0.7
        return 0.7

    def gather(self, value):
        return [value, value]

    def maximum(self, values):
        return values


@pytest.mark.parametrize("rank", [0, 1])
def test_one_of_several_processes_may_report_alone(rank):
    run = Run(seed=0, device=torch.device("cpu"), target=0.5, rank=rank, world_size=2)
    if run.is_main:
        run.evaluated(1, accuracy=0.7)
    trial = function.finish(run, None, 1.0, "mine.py:train", Rank(rank, 2))
    assert (trial.accuracy, trial.outcome) == (0.7, "reached")


def test_a_file_that_changes_the_working_directory_trains_there_alone(trainer, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    text = "import os\nos.chdir('data')\ndef train(run): return float(os.path.basename(os.getcwd()) == 'data')"
    one = trainer(text)
    assert Path.cwd() == tmp_path
    assert one.run_trial(0).accuracy == 1
    assert Path.cwd() == tmp_path


@pytest.mark.parametrize(
    "content", [b"\xef\xbb\xbfdef train(run): return 0.5", b"# coding: latin-1\ndef train(run): return len('\xe9') / 2"]
)
def test_a_file_is_read_as_python_reads_it(tmp_path, content):
    (tmp_path / "mine.py").write_bytes(content)
    one = FunctionTrainer(Function(entry=f"{tmp_path}/mine.py:train", target=0.5), World())
    assert one.run_trial(0).accuracy == 0.5
