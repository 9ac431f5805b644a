"""What a notebook does: record cells, load runs, compare."""

import pytest

import paceline
from results import store


def train(name, accuracies, **arguments):
    with paceline.record(name, target=0.5, device="cpu", **arguments) as run:
        for epoch in run.epochs(len(accuracies)):
            with run.lap("train", epoch):
                pass
            run.evaluated(epoch, accuracy=accuracies[epoch - 1])


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_cells_are_recorded_as_a_run_of_one_trial():
    train("idea", [0.4, 0.6], lr=0.3, seed=4)
    (run,) = store.find(["runs"])
    assert (run.record.recipe_name, run.record.status, run.record.seeds) == ("idea", "finished", [4])
    assert (run.record.recipe["clock"], run.record.recipe["arguments"]) == ("author", {"lr": 0.3})
    (trial,) = run.trials
    assert (trial.outcome, trial.accuracy, [lap.epoch for lap in trial.laps]) == ("reached", 0.6, [1, 2])


def test_cells_that_raise_are_a_failed_run():
    with pytest.raises(KeyError), paceline.record("idea", target=0.5, device="cpu"):
        raise KeyError("gone")
    (run,) = store.find(["runs"])
    assert (run.record.status, run.record.reason, run.trials) == ("failed", "KeyError: 'gone'", ())


def test_cells_without_an_accuracy_are_a_failed_run():
    with (
        pytest.raises(paceline.trial.ScriptError, match="idea: gave no accuracy"),
        paceline.record("idea", target=0.5, device="cpu"),
    ):
        pass
    assert store.find(["runs"])[0].record.status == "failed"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": "imagenet"}, "paceline.record: data.name: Input should be 'cifar10', 'cifar100', "),
        ({"target": 94}, "paceline.record: target: Input should be less than 1"),
        ({"network": object()}, "paceline.record: arguments.network"),
    ],
)
def test_what_cannot_be_recorded_is_one_line(changes, message):
    with pytest.raises(ValueError, match=message) as refused, paceline.record("idea", **{"target": 0.5} | changes):
        pass
    assert "\n" not in str(refused.value)
    with pytest.raises(ValueError, match="no run there"):
        store.find(["runs"])


def test_the_data_of_cells_are_named_as_in_recipes():
    with paceline.record("idea", target=0.5, data="digits", device="cpu") as run:
        run.evaluated(1, accuracy=0.6)
    assert store.find(["runs"])[0].record.recipe["data"]["name"] == "digits"


def test_runs_are_a_data_frame():
    pytest.importorskip("pandas")
    train("idea", [0.6])
    train("other", [0.4, 0.7], seed=1)
    trials = paceline.load("runs")
    assert dict(zip(trials.recipe, trials.accuracy, strict=True)) == {"idea": 0.6, "other": 0.7}
    assert len(paceline.load(["runs"], table="epochs")) == 3
    with pytest.raises(ValueError, match="table='steps': use one of runs, trials, epochs, laps"):
        paceline.load("runs", table="steps")
    with pytest.raises(ValueError, match="nowhere: no run there"):
        paceline.load("nowhere")


def test_two_runs_are_compared_and_shown():
    for seed in range(4):
        train("idea", [0.6 + seed / 1000], seed=seed)
        train("other", [0.7 + seed / 1000], seed=seed)
    found = paceline.compare("idea", "other")
    assert found.verdicts["accuracy"] == "better"
    assert "<td>better</td>" in found._repr_html_()
    assert "idea → other" in found._repr_html_()
    assert "better" in str(found)
    runs = {run.record.recipe_name: run for run in store.find(["runs"])}
    assert paceline.compare(runs["idea"], runs["other"]).rows[0].recipe == "idea → other"
    by_old_name = paceline.compare(runs["idea"], "other", protocol="record")
    assert (by_old_name.protocol, by_old_name.verdicts["time"]) == ("strict", "undecided")


def test_what_differs_is_not_comparable_unless_it_may():
    for seed in range(3):
        train("idea", [0.6 + seed / 1000], seed=seed)
    with paceline.record("other", target=0.55, device="cpu") as run:
        run.evaluated(1, accuracy=0.6)
    assert set(paceline.compare("idea", "other").verdicts.values()) == {"not comparable"}
    assert paceline.compare("idea", "other", across=["target"]).verdicts["accuracy"] != "not comparable"
