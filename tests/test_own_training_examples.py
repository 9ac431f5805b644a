"""The examples of docs/examples are trained, each as its docstring says."""

import re
import shlex
from importlib.util import find_spec
from pathlib import Path

import pytest

from results import store
from tests import page_commands
from tests.bench.conftest import ONE_THREAD, ROOT, RUN, launch, only_run, wait

EXAMPLES = Path(__file__).resolve().parents[1] / "docs" / "examples"
NEEDS = {"lightning_trainer": "lightning", "transformers_trainer": "transformers"}
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.py"))
TWO = ("-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", 2, "--main_process_port", 0)


def command_of(name):
    """What follows `paceline run` in the example's docstring."""
    (line,) = [line for line in (EXAMPLES / f"{name}.py").read_text().splitlines() if "paceline run " in line]
    return shlex.split(line.partition("paceline run ")[2])


@pytest.mark.parametrize("name", NAMES)
def test_an_example_reaches_its_target(name, tmp_path):
    if name in NEEDS and find_spec(NEEDS[name]) is None:
        pytest.skip(f"{NEEDS[name]} is not installed (extra `{NEEDS[name]}`)")
    file, *options = command_of(name)
    ended = wait(launch(RUN, EXAMPLES / file, *options, "--trials", 2, *ONE_THREAD, cwd=tmp_path))
    assert ended.status == 0, ended.err
    run = only_run(tmp_path / "runs")
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


@pytest.mark.slow
def test_the_commands_from_install_to_a_verdict(tmp_path):
    """As the page has them, but for `pip install`."""
    page = EXAMPLES.parent / "own-training.md"
    (tmp_path / "a.py").write_text(re.search(r"```python\n(.+?)```", page.read_text(), re.DOTALL)[1])
    (lines,) = page_commands.commands(page).values()
    assert len(lines) == 5
    for line in lines:
        ended = page_commands.run(line, tmp_path, ROOT)
        if "paceline compare" in line:
            assert "a.py:train → b.py:train" in ended.stdout
    assert (tmp_path / "report" / "index.html").is_file()
