"""What is kept of runs is what a reading of them gives, whatever happens to the runs or to the cache."""

import shutil
import sqlite3
from pathlib import Path

import pytest

from results import cache, query, samples, store
from results.record import Plan, TrialRecord
from tests.results.builders import missed, record, trial


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "KEEP_FROM", 1)
    for number in range(3):
        run = store.create(tmp_path / "runs", record(id=f"id0{number}"))
        run.append(trial(0))
        run.append(missed(1))
    return tmp_path / "runs"


def read_anew(folder):
    paths = store.locate([folder])
    return [{name: samples._decode(path, samples._encode(path))[name] for name in ("strict", "cold")} for path in paths]


def kept(folder):
    return [{name: of[name] for name in ("strict", "cold")} for of in samples.of_runs(store.locate([folder]))]


def test_samples_from_the_cache_are_those_of_the_runs(runs):
    assert kept(runs) == read_anew(runs)
    assert (runs / cache.NAME).exists()
    assert kept(runs) == read_anew(runs)
    run = store.read(next(runs.glob("*id01")))
    assert kept(runs)[1]["strict"] == samples.of_run(run, "strict", samples.METRICS)


def test_a_plan_is_kept(tmp_path):
    plan = Plan(looks=(16, 24))
    path = store.create(tmp_path, record(plan=plan)).path / store.RECORD
    found = samples._decode(path, samples._encode(path))["strict"]
    assert found == samples.of_run(store.read(path), "strict", samples.METRICS)
    assert found.looks == (16, 24)


def test_a_run_that_changed_is_read_again(runs):
    kept(runs)
    path = next(runs.glob("*id01")) / "trials.jsonl"
    path.write_text(path.read_text() + trial(2).model_dump_json() + "\n")
    assert [len(one["strict"].seeds) for one in kept(runs)] == [2, 3, 2]


def test_runs_that_did_not_change_are_not_read_again(runs, monkeypatch):
    before = kept(runs)
    monkeypatch.setattr(store, "read", lambda path: pytest.fail(f"{path} was read"))
    assert kept(runs) == before


def test_other_sources_make_the_cache_worthless(runs, monkeypatch):
    kept(runs)
    monkeypatch.setattr(cache, "_sources", lambda: "other")
    monkeypatch.setattr(store, "read", lambda path: (_ for _ in ()).throw(ValueError("was read")))
    assert all(isinstance(one, ValueError) for one in samples.of_runs(store.locate([runs])))


@pytest.mark.parametrize("content", [b"", b"no database" * 100, b"SQLite format 3\0" + b"x" * 4096])
def test_a_damaged_cache_is_begun_anew(runs, content):
    (runs / cache.NAME).write_bytes(content)
    assert kept(runs) == read_anew(runs)
    assert kept(runs) == read_anew(runs)
    with sqlite3.connect(runs / cache.NAME) as base:
        assert base.execute("SELECT count(*) FROM derived").fetchone() == (3,)


def test_a_cache_that_is_locked_is_done_without(runs):
    kept(runs)
    with sqlite3.connect(runs / cache.NAME) as base:
        base.execute("BEGIN EXCLUSIVE")
        assert kept(runs) == read_anew(runs)


def test_runs_that_are_gone_leave_the_cache(runs):
    kept(runs)
    shutil.rmtree(next(runs.glob("*id00")))
    store.create(runs, record(id="id09"))
    assert len(kept(runs)) == 3
    with sqlite3.connect(runs / cache.NAME) as base:
        assert base.execute("SELECT count(*) FROM derived").fetchone() == (3,)


def test_a_run_that_cannot_be_read_is_not_kept(runs):
    broken = next(runs.glob("*id01")) / "run.json"
    good = broken.read_text()
    broken.write_text("{")
    assert isinstance(samples.of_runs(store.locate([runs]))[1], ValueError)
    broken.write_text(good)
    assert kept(runs) == read_anew(runs)


def test_several_processes_read_many_runs_in_their_order(runs, monkeypatch):
    monkeypatch.setattr(cache, "MANY", 2)
    paths = store.locate([runs])
    assert samples.of_runs(paths, workers=2) == [samples._decode(path, samples._encode(path)) for path in paths]


def test_a_folder_is_looked_up_once_where_the_runs_of_two_alternate_in_time(runs, monkeypatch):
    others = runs.with_name("others")
    for number in range(3):
        run = store.create(others, record(id=f"id0{number}x"))
        run.append(trial(0))
    paths = store.locate([runs, others])
    assert [path.parent.parent for path in paths] == [runs, others] * 3
    asked = []
    real = cache._load
    monkeypatch.setattr(cache, "_load", lambda file, kind: asked.append(file.parent) or real(file, kind))
    found = samples.of_runs(paths)
    assert sorted(asked) == [others, runs]
    assert [len(one["strict"].seeds) for one in found] == [2, 1] * 3


def test_a_warning_names_the_file_where_it_is_now(runs):
    with (next(runs.glob("*id01")) / "trials.jsonl").open("a") as file:
        file.write("torn {\n")
    kept(runs)
    moved = runs.rename(runs.with_name("moved"))
    (warning,) = kept(moved)[1]["strict"].warnings
    assert warning.startswith(f"{moved}/")


def test_little_is_not_kept(runs, monkeypatch):
    monkeypatch.setattr(cache, "KEEP_FROM", 1 << 30)
    kept(runs)
    assert not (runs / cache.NAME).exists()


def test_trials_are_read_when_they_are_looked_at(runs, monkeypatch):
    real = store.read
    found = samples.find_runs([runs])
    monkeypatch.setattr(store, "read", lambda path: pytest.fail("read"))
    assert [len(run.trials) for run, _ in found] == [2, 2, 2]
    monkeypatch.setattr(store, "read", real)
    assert list(found[0][0].trials) == list(real(found[0][0].path).trials)
    assert isinstance(found[0][0].trials[0], TrialRecord)


def test_sql_answers_alike_with_and_without_the_cache(runs):
    pytest.importorskip("duckdb")
    damaged = next(runs.glob("*id02")) / "trials.jsonl"
    with damaged.open("a") as file:
        file.write("torn {\n")
    asked = (
        "select count(*), sum(total_time) from trials",
        "select count(*), sum(seconds) from laps where seed = 1",
        "select count(*), sum(accuracy) from epochs",
        "select count(*), sum(trials) from runs",
    )
    for sql in asked:
        told = []
        answers = [
            query.ask(query.database([runs], "strict", query.named_in(sql), warn=told.append), sql) for _ in range(2)
        ]
        assert answers[0] == answers[1]
        assert [("skipped a damaged line" in line) for line in told] == [True, True]
    rows = query.ask(query.database([runs], "strict"), "select count(*), sum(seconds) from laps")[1]
    trials = [one for run in store.find([runs]) for one in run.trials]
    assert rows == [(sum(len(one.laps) for one in trials), sum(lap.seconds for one in trials for lap in one.laps))]


def test_sql_finds_what_is_kept_from_another_folder_and_after_a_move(tmp_path, monkeypatch):
    pytest.importorskip("duckdb")
    monkeypatch.setattr(cache, "KEEP_FROM", 1)
    run = store.create(tmp_path / "runs", record())
    run.append(trial(0))
    run.finish("interrupted")

    def answer(place):
        return query.ask(query.database([place], "strict"), "select path, (select count(*) from laps) from runs")[1]

    monkeypatch.chdir(tmp_path)
    expected = len(trial(0).laps)
    assert answer("runs") == [(str(Path("runs", run.path.name)), expected)]
    assert (tmp_path / "runs" / cache.NAME).exists()
    (tmp_path / "runs").rename("moved")
    assert answer("moved") == [(str(Path("moved", run.path.name)), expected)]
    monkeypatch.chdir("moved")
    assert answer(".") == [(run.path.name, expected)]
