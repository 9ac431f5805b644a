"""Flat tables of runs, and SQL over them, against the runs themselves."""

import csv
import math
import sys

import pytest

import results
from bench import query as command
from results import store
from results.flat import COLUMNS, tables
from results.protocols import seconds_to_target, total_seconds
from results.record import EpochResult
from tests.results.builders import missed, record, trial


@pytest.fixture
def kept(tmp_path):
    """Two runs, with a trial that missed and one that diverged."""
    first = store.create(tmp_path / "runs", record(id="aaaa"))
    for one in (trial(0), missed(1)):
        first.append(one)
    second = store.create(tmp_path / "runs", record(id="bbbb", recipe_name='it\'s "b"'))
    nan = EpochResult(epoch=1, train_loss=math.nan)
    second.append(trial(2, outcome="diverged", reason="loss", accuracy=None, epochs=[nan]))
    return tmp_path / "runs"


def test_every_table_has_the_columns_that_it_says(kept):
    found = tables(store.find([kept]), "airbench")
    for name, columns in COLUMNS.items():
        rows = getattr(found, name)
        assert rows
        assert all(list(row) == [column.name for column in columns] for row in rows)
    assert [len(rows) for rows in (found.runs, found.trials, found.epochs, found.laps)] == [2, 3, 4, 48]


def test_times_are_those_of_the_protocol(kept):
    (run, _) = store.find([kept])
    for protocol in ("airbench", "strict"):
        rows = tables([run], protocol).trials
        assert [row["total_time"] for row in rows] == [total_seconds(one, protocol) for one in run.trials]
        assert [row["time_to_target"] for row in rows] == [seconds_to_target(one, protocol) for one in run.trials]


def test_an_unknown_protocol_is_refused(kept):
    with pytest.raises(ValueError, match="protocol='mine' is unknown"):
        tables(store.find([kept]), "mine")


def test_sql(kept, capsys):
    pytest.importorskip("duckdb")
    asked = "select recipe, count(*) n, max(accuracy) best from trials group by 1 order by 1"
    assert command.main([asked, str(kept), "--format", "csv"]) == 0
    assert capsys.readouterr().out == 'recipe,n,best\ncifar10/airnet,2,0.95\n"it\'s ""b""",1,\n'
    assert command.main(["select isnan(train_loss) from epochs where run = 'bbbb'", str(kept), "--format", "json"]) == 0
    assert "true" in capsys.readouterr().out
    assert command.main(["select median(total_time) as t from trials", str(kept)]) == 0
    assert "t" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["selct 1"], ["select 1", "--protocol", "mine"], ["select 1", "nowhere"]])
def test_what_can_not_be_answered_is_one_line(kept, capsys, arguments):
    pytest.importorskip("duckdb")
    sql, *rest = arguments
    assert command.main([sql, *([] if "nowhere" in rest else [str(kept)]), *rest]) == 2
    said = capsys.readouterr().err
    assert said.startswith("bench/query.py: error: ")
    assert said.count("\n") == 1


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_tables_as_files(kept, tmp_path, form):
    duckdb = pytest.importorskip("duckdb")
    folder = tmp_path / "o'ut"
    assert command.main(["select 1", str(kept), "--write", str(folder), "--files", form]) == 0
    assert sorted(path.name for path in folder.iterdir()) == sorted(f"{name}.{form}" for name in COLUMNS)
    read = f"select seed, accuracy from read_{form}(?) order by seed"
    assert duckdb.execute(read, [str(folder / f"trials.{form}")]).fetchall() == [(0, 0.95), (1, 0.9), (2, None)]
    if form == "csv":
        with (folder / "runs.csv").open() as file:
            assert [row["run"] for row in csv.DictReader(file)] == ["aaaa", "bbbb"]


def test_without_duckdb_it_is_said_what_to_install(kept, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "duckdb", None)
    assert command.main(["select 1", str(kept)]) == 2
    assert "pip install -e '.[query]' -c constraints.txt" in capsys.readouterr().err


def test_a_data_frame_for_a_notebook(kept):
    pytest.importorskip("pandas")
    frame = results.load(kept, protocol="airbench")
    assert list(frame.columns) == [column.name for column in COLUMNS["trials"]]
    assert frame.groupby("recipe").accuracy.max()["cifar10/airnet"] == 0.95
    assert len(results.load(kept, table="laps")) == 48
    with pytest.raises(ValueError, match="table='steps': use one of runs, trials, epochs, laps"):
        results.load(kept, table="steps")
