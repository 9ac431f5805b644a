"""bench/run.py --vary: one run for each value, which other commands find by its name."""

import json

import pytest

from bench import compare, report
from bench.command_line import jobs
from results import store
from results.tables import comparison
from tests.bench.conftest import error_of

SMALL = ("digits/quick", "model.widths=[4]")
EPOCHS = ("--vary", "epochs=1|2|3")
NAMES = [f"digits/quick+epochs={number}" for number in (1, 2, 3)]


def test_each_value_is_a_run_of_its_own(main, tmp_path):
    ended = main(*SMALL, "--vary", "epochs=1|2", "--trials", "1")
    assert ended.status == 0
    runs = store.find([tmp_path / "runs"])
    assert [(run.record.recipe_name, run.record.recipe["epochs"]) for run in runs] == [(NAMES[0], 1), (NAMES[1], 2)]
    assert "comparison" not in ended.out


@pytest.fixture
def compared(monkeypatch):
    """The names of the runs that were compared, two by two, by each command."""
    real, found = comparison.of_pairs, []

    def of_pairs(pairs, *rest):
        found.append([tuple(run.record.recipe_name for run in pair) for pair in pairs])
        return real(pairs, *rest)

    monkeypatch.setattr(comparison, "of_pairs", of_pairs)
    return found


def test_interleaved_values_are_each_compared_with_the_first(main, call, tmp_path, compared):
    ended = main(*SMALL, *EPOCHS, "--interleave", "--trials", "2")
    assert ended.status == 0
    runs = {run.record.recipe_name: run for run in store.find([tmp_path / "runs"])}
    assert sorted(runs) == NAMES
    started = sorted((trial.started, name) for name, run in runs.items() for trial in run.trials)
    assert [name for _, name in started] == [*NAMES, *reversed(NAMES)]
    assert "p is at most 0.025: 0.05, divided by the 2 comparisons" in " ".join(ended.out.split())

    resumed = main(*(word for name in NAMES for word in ("--resume", runs[name].path)), "--trials", "3")
    assert resumed.status == 0
    assert [len(run.trials) for run in store.find([tmp_path / "runs"])] == [3, 3, 3]
    assert compared == [[(NAMES[0], NAMES[1]), (NAMES[0], NAMES[2])]] * 2

    by_name = call(compare, NAMES[0], NAMES[1], "--format", "json")
    assert {row["recipe"] for row in json.loads(by_name.out)} == {f"{NAMES[0]} → {NAMES[1]}"}
    assert call(report, "runs").status == 0
    assert NAMES[2] in (tmp_path / "report" / "index.html").read_text(encoding="utf-8")


def test_a_smoke_test_trains_each_value(main, tmp_path):
    assert main(*SMALL, "--vary", "batch_size=16|32", "--smoke-test", "--trials", "1").status == 0
    assert [run.record.smoke_test for run in store.find([tmp_path / "runs"])] == [True, True]


def test_a_function_of_ones_own_is_varied_by_its_arguments(main, tmp_path):
    (tmp_path / "mine.py").write_text("def train(run, share):\n    return share\n")
    assert main("mine.py:train", "--target", "0.5", "--vary", "share=0.6|0.7", "--trials", "1").status == 0
    runs = store.find([tmp_path / "runs"])
    assert [(run.record.recipe_name, run.accuracies) for run in runs] == [
        ("mine.py:train+share=0.6", [0.6]),
        ("mine.py:train+share=0.7", [0.7]),
    ]


def test_a_wrong_value_stops_all_before_the_first_run(main, tmp_path):
    assert "epochs='x': it should be a number" in error_of(main(*SMALL, "--vary", "epochs=1|x"))
    assert not (tmp_path / "runs").exists()


def jobs_of(*words):
    return jobs.jobs(jobs.parse(list(words)))


def test_every_recipe_has_every_value(tmp_path):
    (tmp_path / "my.yaml").write_text("base: digits/quick\n")
    found = jobs_of("digits/short", str(tmp_path / "my.yaml"), "--vary", "epochs=1|2", "--trials", "4")
    names = [f"{name}+epochs={number}" for name in ("digits/short", "my") for number in (1, 2)]
    assert [job.name for job in found] == names
    assert {job.seeds for job in found} == {(0, 1, 2, 3)}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--vary", "epoch=1|2"], "epoch: there is no such option"),
        (["--vary", "epochs=1"], "has one value"),
        (["epochs=3", "--vary", "epochs=1|2"], "epochs is given twice"),
        (["--target", "0.9", "--vary", "target=0.8|0.9"], "target is given twice"),
        (["--batch-per-process", "8", "--vary", "batch_size=8|16"], "batch_size is given twice"),
        (["--folds", "2", "--vary", "data.fold=0|1"], "data.fold is given twice"),
        (["--folds", "2", "--interleave", "--vary", "epochs=1|2"], "--folds makes several: leave one out"),
        (["--command", "true", "--target", "0.5", "--vary", "epochs=1|2"], "write a --command for each value"),
        (["--resume", "x", "--vary", "epochs=1|2"], "--resume continues with the recipe"),
    ],
)
def test_what_cannot_vary_is_refused_in_one_line(main, words, message):
    assert message in error_of(main(*words))
