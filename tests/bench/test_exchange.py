"""bench/exchange.py: out and in again, and what it refuses."""

import pytest

from bench import exchange
from results import store
from results.protocols import seconds_to_target
from tests.results.builders import record, trial

WHO = ["--author", "A", "--email", "a@example.org", "--code-url", "https://example.org"]


@pytest.fixture
def kept(tmp_path):
    run = store.create(tmp_path / "runs", record(seeds=[0]))
    run.append(trial(0))
    return run.path


def test_to_dawnbench_and_back(kept, tmp_path, capsys):
    assert exchange.main(["to-dawnbench", str(kept), "--out", str(tmp_path / "out"), *WHO]) == 0
    described, rows = capsys.readouterr().out.split()
    assert rows.endswith(".tsv")
    assert exchange.main(["from-dawnbench", described, "--out", str(tmp_path / "back")]) == 0
    (back,) = store.find([tmp_path / "back"])
    assert back.record.environment.origin == "DAWNBench, A"
    assert back.record.recipe_name == "dawnbench/cifar10/airnet"
    assert seconds_to_target(back.trials[0], "dawnbench") == pytest.approx(seconds_to_target(trial(0), "dawnbench"))


def test_to_mlperf(kept, tmp_path, capsys):
    pytest.importorskip("mlperf_logging")
    assert exchange.main(["to-mlperf", str(kept), "--out", str(tmp_path / "logs")]) == 0
    assert ":::MLLOG" in (tmp_path / "logs" / f"{kept.name}_seed0.log").read_text()


@pytest.mark.parametrize("command", ["from-dawnbench", "to-mlperf"])
def test_what_is_not_there_is_one_line(tmp_path, capsys, command):
    assert exchange.main([command, str(tmp_path / "nothing.json"), "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("changes", "trials", "message"),
    [
        ({"recipe": {"target": None}}, 1, "has no target"),
        ({"smoke_test": True}, 1, "is a smoke test"),
        ({}, 0, "no trial has ended"),
    ],
)
@pytest.mark.parametrize("command", [["to-mlperf"], ["to-dawnbench", *WHO]])
def test_a_run_without_a_result_is_refused(tmp_path, capsys, command, changes, trials, message):
    run = store.create(tmp_path / "runs", record(seeds=[0], **changes))
    for seed in range(trials):
        run.append(trial(seed))
    assert exchange.main([*command, str(run.path), "--out", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_run_on_other_data_is_no_submission_to_dawnbench(tmp_path, capsys):
    run = store.create(tmp_path / "runs", record(seeds=[0], recipe={"data": {"name": "digits"}}))
    run.append(trial(0))
    assert exchange.main(["to-dawnbench", *WHO, str(run.path), "--out", str(tmp_path / "out")]) == 2
    assert "was trained on digits, and DAWNBench's submissions are of cifar10" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [["to-dawnbench", *WHO, "--cost-per-hour", "nan"], ["from-dawnbench", "--target", "94"]]
)
def test_a_number_that_cannot_be_is_refused(tmp_path, capsys, words):
    with pytest.raises(SystemExit) as leaving:
        exchange.main([*words, "x", "--out", str(tmp_path)])
    assert leaving.value.code == 2
    assert words[-1] in capsys.readouterr().err


def test_a_run_without_a_trial_has_no_events(tmp_path, capsys):
    run = store.create(tmp_path / "runs", record(seeds=[0]))
    assert exchange.main(["to-tensorboard", str(run.path), "--out", str(tmp_path / "out")]) == 2
    assert "no trial has ended" in capsys.readouterr().err
