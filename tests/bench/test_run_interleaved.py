"""bench/run.py A B --interleave: trials alternate, and what the end of one run does to the others."""

import os
import signal

import pytest

from bench.training import profiles, trainers
from pipelines.probes import energy
from results import store
from results.record import Plan
from tests.bench.conftest import ONE_THREAD, RUN, SMALL, error_of, launch, wait


@pytest.fixture
def order(monkeypatch):
    """The seeds in the order in which they were trained; `at` does something at the n-th trial."""
    real, seeds, at = trainers.run_trial, [], {}

    def run_trial(bench, seed, views):
        at.get(len(seeds), lambda: None)()
        seeds.append((bench.recipe.epochs, seed))
        return real(bench, seed, views)

    monkeypatch.setattr(trainers, "run_trial", run_trial)
    return seeds, at


def recipes(tmp_path):
    """Two recipes that differ in their epochs."""
    for epochs in (1, 2):
        (tmp_path / f"of{epochs}.yaml").write_text(f"base: digits/quick\nepochs: {epochs}\nmodel: {{widths: [4]}}\n")
    return [tmp_path / "of1.yaml", tmp_path / "of2.yaml"]


def test_trials_alternate_and_are_compared(main, tmp_path, order):
    """Neither is always the second, which a drift of the machine would always slow down."""
    ended = main(*recipes(tmp_path), "--interleave", "--trials", 2)
    assert ended.status == 0
    assert order[0] == [(1, 0), (2, 0), (2, 1), (1, 1)]
    first, second = store.find([tmp_path / "runs"])
    assert first.record.interleaved == second.record.interleaved is not None
    assert (first.missing_seeds, second.missing_seeds) == ([], [])
    assert "comparison" in ended.out
    assert not any(
        lap.name in ("total", "startup") for run in (first, second) for one in run.trials for lap in one.laps
    )


def test_the_same_recipe_twice_gives_two_runs_of_the_same_trials(main, tmp_path):
    main("digits/quick", "digits/quick", *SMALL, "--interleave", "--trials", 2)
    runs = store.find([tmp_path / "runs"])
    assert [run.accuracies for run in runs] == [runs[0].accuracies] * 2
    assert len({run.record.recipe_hash for run in runs}) == 1


@pytest.fixture
def heeding_hangups():
    """Also under nohup, which has SIGHUP ignored."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    ("number", "status", "reason"),
    [(signal.SIGTERM, 143, "SIGTERM"), (signal.SIGHUP, 129, "SIGHUP"), (signal.SIGINT, 130, "Ctrl-C")],
)
@pytest.mark.usefixtures("heeding_hangups")
def test_a_signal_ends_all_and_keeps_what_they_had(main, tmp_path, order, number, status, reason):
    handler = signal.getsignal(signal.SIGTERM)
    order[1][3] = lambda: signal.raise_signal(number)
    assert main(*recipes(tmp_path), "--interleave", "--trials", 3).status == status
    runs = store.find([tmp_path / "runs"])
    assert [len(run.trials) for run in runs] == [1, 2]
    assert {run.record.status for run in runs} == {"interrupted"}
    assert [run.record.reason for run in runs] == [reason, "a run that it was interleaved with has ended early"]
    assert signal.getsignal(signal.SIGTERM) is handler


def test_runs_of_unequal_length_go_on_without_each_other(main, tmp_path, order):
    (tmp_path / "suite.yaml").write_text(
        "\n".join(f"- {{recipe: {path}, trials: {n}}}" for path, n in zip(recipes(tmp_path), (1, 3), strict=True))
    )
    order[1][3] = lambda: signal.raise_signal(signal.SIGTERM)
    assert main("--suite", tmp_path / "suite.yaml", "--interleave").status == 143  # still heard by the one that is left
    assert order[0] == [(1, 0), (2, 0), (2, 1)]


def test_runs_that_are_resumed_together_alternate_again(main, tmp_path, order):
    """The first run lost its last trial to a signal. It catches up before both go on."""
    order[1][3] = lambda: signal.raise_signal(signal.SIGTERM)
    stopped = main(*recipes(tmp_path), "--interleave", "--trials", 2)
    del order[1][3]
    runs = store.find([tmp_path / "runs"])
    how = f"{runs[0].path.name}, and one more --resume for each run that it was interleaved with"
    assert how in stopped.out
    both = [word for run in runs for word in ("--resume", run.path)]
    ended = main(*both, "--trials", 3)
    assert ended.status == 0
    assert order[0] == [(1, 0), (2, 0), (2, 1), (1, 1), (1, 2), (2, 2)]
    first, second = store.find([tmp_path / "runs"])
    assert first.record.interleaved == second.record.interleaved is not None
    assert [len(run.trials) for run in (first, second)] == [3, 3]
    assert "comparison" in ended.out
    assert "were not interleaved" not in ended.out


def test_what_one_cannot_train_leaves_no_run_of_the_others(main, tmp_path, order):
    (tmp_path / "mine.py").write_text("def train(run):\n    return 0.9\n")
    ended = main(*recipes(tmp_path), "mine.py:trian", "--target", "0.5", "--interleave")
    assert "did you mean train?" in error_of(ended)
    assert order[0] == []
    assert not (tmp_path / "runs").exists()


def test_a_function_that_asks_gets_no_answer(tmp_path):
    """Standard input stays open, as in a terminal."""
    (tmp_path / "a.py").write_text("def train(run):\n    return float(input('accuracy? '))\n")
    (tmp_path / "b.py").write_text("def train(run):\n    return 0.9\n")
    asked = ("a.py:train", "b.py:train", "--interleave", "--target", "0.5", "--trials", "1", *ONE_THREAD)
    reading, writing = os.pipe()
    process = launch(RUN, *asked, cwd=tmp_path, stdin=reading)
    ended = wait(process)
    os.close(reading)
    os.close(writing)
    *_, error = ended.err.splitlines()
    assert (ended.status, error.partition("; ")[0]) == (
        2,
        "bench/run.py: error: a.py:train: line 2: EOFError: EOF when reading a line",
    )


def test_one_recipe_cannot_be_interleaved(main):
    assert "two recipes" in error_of(main("digits/quick", "--interleave"))


def test_a_probe_comes_after_the_trials_of_all(main, tmp_path, monkeypatch, order):
    """Between two trials of a pair it would heat the machine."""
    monkeypatch.setattr(energy, "measure", lambda world, train: order[0].append("energy"))
    monkeypatch.setattr(profiles, "keep_energy", lambda joules, directory, view: None)
    assert main(*recipes(tmp_path), "--interleave", "--trials", 2, "--energy").status == 0
    assert order[0] == [(1, 0), (2, 0), (2, 1), (1, 1), "energy", "energy"]


TWICE = ("digits/quick", "digits/quick", *SMALL, "--interleave", "--until-decided", "--trials", 8)
"""one recipe twice: every seed ends with the same accuracy on both sides; looks after 7 and 8 trials"""


def test_training_stops_at_the_first_look_that_decides(main, tmp_path):
    ended = main(*TWICE, "--limit", "accuracy:0.1", "--profile")
    assert ended.status == 0
    assert "digits/quick: look 1 of 2, 7 of 8 trials; level 3.3%: accuracy same; training ends" in ended.out
    assert "stopped at look 1 of 2, 7 of 8 trials" in " ".join(ended.out.split())
    runs = store.find([tmp_path / "runs"])
    assert [(len(run.trials), run.missing_seeds, run.record.status) for run in runs] == [(7, [], "finished")] * 2
    assert [run.record.plan for run in runs] == [Plan(looks=(7, 8), limits={"accuracy": 0.001})] * 2
    assert all((run.path / "profile").exists() for run in runs)  # probes come after the trials, however many


def test_a_plan_goes_on_where_its_runs_are_resumed(main, tmp_path, order):
    """Interrupted in the last trial before the first look, which then decides."""
    order[1][13] = lambda: signal.raise_signal(signal.SIGTERM)
    assert main(*TWICE, "--limit", "accuracy:0.1").status == 143
    del order[1][13]
    runs = store.find([tmp_path / "runs"])
    assert sorted(len(run.trials) for run in runs) == [6, 7]
    both = [word for run in runs for word in ("--resume", run.path)]
    assert "was trained until decided with another run: resume both together" in error_of(main(*both[:2]))
    assert "leave --trials out, or start new runs" in error_of(main(*both, "--trials", 9))
    ended = main(*both)
    assert (ended.status, "accuracy same; training ends" in ended.out) == (0, True)
    assert [len(run.trials) for run in store.find([tmp_path / "runs"])] == [7, 7]
    assert "nothing to do" in main(*both).out
    assert len(order[0]) == 14


def test_without_a_decision_all_trials_are_trained(main, tmp_path):
    """Nothing measures energy, which may therefore still come."""
    ended = main(*TWICE, "--limit", "energy:5%")
    assert "look 1 of 2, 7 of 8 trials; level 3.3%: energy not comparable\n" in ended.out
    assert [len(run.trials) for run in store.find([tmp_path / "runs"])] == [8, 8]
