"""Flat tables of runs, and SQL over them, against the runs themselves."""

import csv
import json
import math
import sys

import pytest

from bench import compare, report
from bench import query as command
from results import notebook, query, store
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


def test_json_has_no_number_that_is_none_of_its_own(kept, capsys):
    pytest.importorskip("duckdb")
    asked = "select train_loss, ['inf'::double] as list from epochs where run = 'bbbb'"
    assert command.main([asked, str(kept), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out, parse_constant=pytest.fail) == [
        {"train_loss": "NaN", "list": ["Infinity"]}
    ]


def test_an_answer_without_a_row_says_so(kept, capsys):
    pytest.importorskip("duckdb")
    assert command.main(["select * from trials where false", str(kept)]) == 0
    assert "No row." in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["selct 1"],
        [""],
        ["; -- nothing"],
        ["select a.seed, b.seed from trials a, trials b", "--format", "json"],
        ["select 1", "--protocol", "mine"],
        ["select 1", "nowhere"],
    ],
)
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
    frame = notebook.load(kept, protocol="airbench")
    assert list(frame.columns) == [column.name for column in COLUMNS["trials"]]
    assert frame.groupby("recipe").accuracy.max()["cifar10/airnet"] == 0.95
    assert len(notebook.load(kept, table="laps")) == 48
    with pytest.raises(ValueError, match="table='steps': use one of runs, trials, epochs, laps"):
        notebook.load(kept, table="steps")


HUGE = 10**400


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"samples": HUGE}, "trials.jsonl:1: is impossible: samples=1000"),
        ({"steps": 2**63}, "trials.jsonl:1: is impossible: steps=9223372036854775808: Input should be less than"),
        ({"epochs": [{"epoch": HUGE}]}, "trials.jsonl:1: is impossible: epochs.0.epoch=1000"),
        ({"seed": 2**127}, "trials.jsonl:1: is impossible: seed=170141183460469231731687303715884105728: "),
    ],
)
def test_a_number_that_no_column_holds_is_one_line_with_file_and_field(tmp_path, capsys, changes, said):
    pytest.importorskip("duckdb")
    run = store.create(tmp_path / "runs", record())
    line = json.dumps(trial(0).model_dump(mode="json") | changes)
    (run.path / store.TRIALS).write_text(f"{line}\n")
    assert command.main(["select * from trials", str(run.path)]) == 2
    message = capsys.readouterr().err
    assert said in message
    assert message.count("\n") == 1


def test_every_column_can_be_selected_and_years_and_times_may_be_extreme(tmp_path, capsys):
    pytest.importorskip("duckdb")
    laps = [{"name": "train", "seconds": 1e308}]
    for number, year in enumerate((1, 9999)):
        created = f"{year:04d}-06-01T00:00:00Z"
        run = store.create(tmp_path / "runs", record(id=f"id0{number}", created=created, seeds=[2**100 + number]))
        run.append(trial(2**100 + number, laps=laps))
    for table in COLUMNS:
        assert command.main([f"select * from {table}", str(tmp_path / "runs"), "--format", "json"]) == 0
    shown = capsys.readouterr()
    assert "0001-06-01 00:00:00" in shown.out
    assert "9999-06-01 00:00:00" in shown.out
    assert shown.err == ""


def test_laps_that_no_number_can_add_up_are_one_line_with_file_and_field(kept, capsys):
    pytest.importorskip("duckdb")
    path = next(kept.glob("*aaaa"))
    laps = '"laps":[{"name":"train","seconds":1e308},{"name":"augment","seconds":1e308}]'
    line = trial(2, laps=[]).model_dump_json().replace('"laps":[]', laps)
    (path / "trials.jsonl").write_text(line + "\n")
    for main in (command.main, compare.main, report.main):
        words = {command.main: ["select 1 from runs", str(path)], compare.main: [str(path), str(kept)]}
        assert main(words.get(main, [str(path)])) == 2
        said = capsys.readouterr().err
        assert "trials.jsonl:1: is impossible: laps" in said or "laps: their seconds add up" in said
        assert said.count("\n") == 1


@pytest.mark.parametrize("when", ["0001-01-01T00:00:00+05:00", "9999-12-31T23:00:00-05:00"])
def test_a_time_outside_the_calendar_is_one_line(kept, capsys, when):
    pytest.importorskip("duckdb")
    path = next(kept.glob("*aaaa")) / "run.json"
    path.write_text(path.read_text().replace("2026-11-21T10:57:31Z", when))
    assert command.main(["select 1 from runs", str(path.parent)]) == 2
    assert "created: " in (said := capsys.readouterr().err)
    assert said.count("\n") == 1


def test_an_unreadable_run_is_left_out_with_a_warning_unless_it_is_named_itself(kept, capsys):
    pytest.importorskip("duckdb")
    broken = next(kept.glob("*aaaa"))
    (broken / "run.json").write_text("{")
    for place in (str(kept), f"{kept}/*"):
        assert command.main(["select count(*) n from runs", place, "--format", "csv"]) == 0
        shown = capsys.readouterr()
        assert shown.out == "n\n1\n"
        assert shown.err.startswith("warning: ")
        assert str(broken) in shown.err
    assert command.main(["select 1 from runs", str(broken)]) == 2
    assert command.main(["select 1 from runs", str(kept), str(broken)]) == 2


@pytest.mark.parametrize(
    "sql",
    [
        "copy trials to '{}/out.csv'",
        "select * from read_text('{}/secret')",
        "select * from '{}/secret.csv'",
        "attach '{}/other.db'",
        "set enable_external_access = true",
        "install httpfs",
    ],
)
def test_sql_can_neither_read_nor_write_files(kept, tmp_path, capsys, sql):
    pytest.importorskip("duckdb")
    (tmp_path / "secret").write_text("hunter2")
    (tmp_path / "secret.csv").write_text("hunter2\n1\n")
    before = sorted(tmp_path.iterdir())
    assert command.main([sql.format(tmp_path), str(kept)]) == 2
    shown = capsys.readouterr()
    assert "hunter2" not in shown.out + shown.err
    assert shown.err.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


def test_with_allow_files_it_can(kept, tmp_path):
    pytest.importorskip("duckdb")
    assert command.main([f"copy trials to '{tmp_path}/out.csv'", str(kept), "--allow-files"]) == 0
    assert (tmp_path / "out.csv").exists()


def test_the_same_runs_are_counted_by_query_load_and_report(kept, tmp_path, capsys):
    pytest.importorskip("duckdb")
    pytest.importorskip("pandas")
    store.create(kept / "scaling", record(id="cccc"))
    assert command.main(["select count(*) n from runs", str(kept), "--format", "csv"]) == 0
    assert capsys.readouterr().out == "n\n3\n"
    assert len(notebook.load(kept, table="runs")) == 3
    pytest.importorskip("plotly")
    assert report.main([str(kept), "-o", str(tmp_path / "page")]) == 0
    page = (tmp_path / "page" / "index.html").read_text()
    assert all(f'"id":"{name}"' in page for name in ("aaaa", "bbbb", "cccc"))


@pytest.mark.parametrize("text", ["=1+1", "+a", "-a", "@a"])
def test_a_cell_that_would_be_a_formula_is_text(tmp_path, capsys, text):
    pytest.importorskip("duckdb")
    run = store.create(tmp_path / "runs", record(recipe_name=text))
    run.append(trial(0, outcome="failed", reason=f"{text}\x1b[31m"))
    asked = ["select recipe, reason, -1.5 as x from trials", str(tmp_path / "runs")]
    assert command.main([*asked, "--format", "csv", "--write", str(tmp_path), "--files", "csv"]) == 0
    (row,) = csv.DictReader(capsys.readouterr().out.splitlines())
    assert row == {"recipe": f"'{text}", "reason": f"'{text} [31m", "x": "-1.5"}
    with (tmp_path / "trials.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert (row["recipe"], row["reason"]) == (f"'{text}", f"'{text} [31m")


def test_tables_that_cannot_be_written_are_one_line(kept, tmp_path, capsys):
    pytest.importorskip("duckdb")
    (tmp_path / "out" / "runs.csv").mkdir(parents=True)
    assert command.main(["select 1", str(kept), "--write", str(tmp_path / "out"), "--files", "csv"]) == 2
    said = capsys.readouterr().err
    assert "runs.csv" in said
    assert said.count("\n") == 1


def test_a_folder_that_is_called_like_a_column_says_nothing(tmp_path, capsys):
    pytest.importorskip("duckdb")
    run = store.create(tmp_path / "seed=7" / "run=x" / "recipe=y", record())
    run.append(trial(0))
    run.finish("interrupted")
    assert command.main(["select distinct seed, run, recipe from epochs", str(run.path), "--format", "csv"]) == 0
    assert capsys.readouterr().out == "seed,run,recipe\n0,abcd1234,cifar10/airnet\n"


@pytest.mark.parametrize("name", COLUMNS)
def test_a_trial_that_is_being_written_is_in_no_table(tmp_path, monkeypatch, name):
    """Between our reading of a run and DuckDB's, another process has written half of a line."""
    pytest.importorskip("duckdb")
    run = store.create(tmp_path, record())
    run.append(trial(0))
    encode = query._encode

    def encode_and_tear(path, protocol):
        encoded = encode(path, protocol)
        with (run.path / "trials.jsonl").open("a") as file:
            file.write('{"index": 1, "se')
        return encoded

    monkeypatch.setattr(query, "_encode", encode_and_tear)
    connection = query.database([tmp_path], "strict", [name])
    assert query.ask(connection, f"select count(*) > 0 from {name}")[1] == [(True,)]
