"""The examples of docs/examples are trained, each as its docstring says."""

import re
import shlex
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from results import store
from tests.bench.conftest import ROOT, RUN, launch, only_run, wait
from tests.pipelines.scripts.modules import forget_modules_of

EXAMPLES = ROOT / "docs" / "examples"
NEEDS = {"lightning_trainer": "lightning", "transformers_trainer": "transformers"}
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.py"))
TWO = ("-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", 2, "--main_process_port", 0)


def command_of(name):
    """What follows `paceline run` in the example's docstring."""
    (line,) = [line for line in (EXAMPLES / f"{name}.py").read_text().splitlines() if "paceline run " in line]
    return shlex.split(line.partition("paceline run ")[2])


@pytest.fixture(autouse=True)
def _modules_as_before(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for folder in (EXAMPLES, tmp_path):
        forget_modules_of(folder)


@pytest.mark.parametrize("name", NAMES)
def test_an_example_reaches_its_target(name, main):
    if name in NEEDS and find_spec(NEEDS[name]) is None:
        pytest.skip(f"{NEEDS[name]} is not installed (extra `{NEEDS[name]}`)")
    file, *options = command_of(name)
    ended = main(EXAMPLES / file, *options, "--trials", 2)
    assert ended.status == 0, ended.err
    run = only_run(Path("runs"))
    assert run.record.recipe_name == file
    assert [trial.outcome for trial in run.trials] == ["reached", "reached"]
    second = run.trials[1]
    if name != "returns_accuracy":
        assert [(lap.name, lap.epoch) for lap in second.laps][-2:] == [("train", 6), ("evaluate", 6)]
        assert [result.epoch for result in second.epochs] == [1, 2, 3, 4, 5, 6]
        assert run.record.recipe["arguments"].items() <= {"lr": 0.1, "epochs": 6, "batch_size": 64}.items()
    else:
        assert [lap.name for lap in second.laps] == ["train"]
        assert "compile" in [lap.name for lap in run.trials[0].laps]


@pytest.mark.slow
def test_the_loop_of_accelerate_trains_in_two_processes(tmp_path):
    file, *options = command_of("accelerate_loop")
    ended = wait(launch(*TWO, RUN, EXAMPLES / file, *options, "--device", "cpu", "--trials", 1, cwd=tmp_path))
    assert ended.status == 0, ended.err
    (run,) = store.find([tmp_path / "runs"])
    assert (run.record.world_size, run.trials[0].outcome) == (2, "reached")


def test_no_example_is_forgotten():
    assert NAMES == [
        "accelerate_loop",
        "lightning_trainer",
        "plain_pytorch",
        "prints_accuracy",
        "returns_accuracy",
        "transformers_trainer",
    ]
    assert set(NEEDS) < set(NAMES)


def test_the_two_versions_on_the_page_are_compared(main):
    """In fewer trials. `tests/test_first_hour.py` runs such commands as a reader does, from the doctor to a page."""
    page = (EXAMPLES.parent / "own-training.md").read_text()
    text = re.search(r"```python\n(.+?)```", page, re.DOTALL)[1]
    _, before, after, _ = re.search(r"^sed (s/.+/) a.py > b.py", page, re.MULTILINE)[1].split("/")
    assert text.count(before) == 1
    Path("a.py").write_text(text)
    Path("b.py").write_text(text.replace(before, after))
    ended = main("a.py:train", "b.py:train", "--target", "0.85", "--interleave", "--trials", "2")
    assert ended.status == 0, ended.err
    assert "a.py:train → b.py:train" in " ".join(ended.out.split())
    for run in store.find(["runs"]):
        assert {"load", "build", "compile", "train", "evaluate"} <= {lap.name for lap in run.trials[0].laps}
        assert [result.epoch for result in run.trials[1].epochs] == [1, 2, 3, 4]
