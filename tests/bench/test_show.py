"""bench/show.py: recorded runs as the tables that a training prints."""

import json

import jsonschema
import pytest

from bench import show, sweep
from bench.command_line.json_output import SummaryObject
from results import store
from tests.results import builders


def keep(folder, number, host="h1", factor=1.0, **changes):
    """A run of one trial, as a task of a job array leaves it."""
    environment = {"machine_class": "CPU", "host_hash": host, "versions": {"torch": "2.13.0"}}
    record = builders.record(**({"id": f"task{number}", "seeds": [number], "environment": environment} | changes))
    run = store.create(folder, record)
    laps = [{"name": "train", "epoch": epoch, "seconds": factor + number * 1e-4} for epoch in (1, 2, 3)]
    run.append(builders.trial(number, laps=laps, accuracy=0.95 + number * 1e-4))
    run.finish("finished")
    return run.path


@pytest.fixture
def array(tmp_path):
    """A job array of 20 tasks on four hosts, the third of which is 5% slower."""
    for number in range(20):
        keep(tmp_path / "runs", number, f"host{number % 4}", 1.05 if number % 4 == 2 else 1.0)
    return tmp_path / "runs"


def test_a_job_array_is_one_row_and_its_slow_host_is_named(array, capsys):
    assert show.main([str(array)]) == 0
    output = capsys.readouterr().out
    (row,) = [line.split() for line in output.splitlines() if line.startswith(" cifar10/airnet")]
    assert row[:8] == ["cifar10/airnet", "(20", "runs,", "4", "hosts)", "20", "95.10", "±"]
    hosts = [words for line in output.splitlines() if (words := line.split())[:1] and words[0].startswith("host")]
    assert {words[0]: words[-1] for words in hosts if words[0] != "host"} == {
        "host0": "–",
        "host1": "–",
        "host2": "slower",
        "host3": "–",
    }
    assert "record:" not in output


def test_without_a_folder_the_runs_in_the_current_one_are_shown(array, capsys, monkeypatch):
    monkeypatch.chdir(array.parent)
    assert show.main([]) == 0
    assert "(20 runs, 4 hosts)" in capsys.readouterr().out


def test_json_is_one_object_a_row_with_what_the_tables_show(array, capsys):
    other = keep(array, 20, commit="e" * 40)
    assert show.main([str(array), "--json"]) == 0
    objects = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    for one in objects:
        jsonschema.validate(one, SummaryObject.model_json_schema())
    pooled, alone = objects
    assert (len(pooled["runs"]), pooled["trials"], pooled["reached"], pooled["missing"]) == (20, 20, 20, 0)
    assert pooled["accuracy"] == pytest.approx(0.95095)
    assert pooled["accuracy_low"] < pooled["accuracy"] < pooled["accuracy_high"]
    assert pooled["total_time_low"] < pooled["total_time"] < pooled["total_time_high"]
    slow, *rest = pooled["hosts"]
    assert (slow["host"], slow["trials"], slow["difference"]) == ("host2", 5, "slower")
    assert slow["change"] == pytest.approx(1.05, rel=0.01)
    assert slow["low"] <= slow["change"] <= slow["high"]
    assert {one["difference"] for one in rest} == {None}
    assert (alone["runs"], alone["commit"], alone["hosts"]) == ([str(other)], "e" * 40, [])


def test_a_second_row_of_a_recipe_says_why(array, capsys):
    keep(array, 20, commit="e" * 40)
    assert show.main([str(array)]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "is not pooled with" in line]
    assert line.endswith(f": commit: {'f' * 40} → {'e' * 40}")


def test_times_are_those_of_the_protocol(array, capsys):
    objects = {}
    for protocol in ("strict", "cold"):
        assert show.main([str(array), "--protocol", protocol, "--json"]) == 0
        objects[protocol] = json.loads(capsys.readouterr().out)
    assert objects["strict"]["total_time"] > 0
    assert (objects["cold"]["total_time"], objects["cold"]["absent"]) == (None, "no trial has time")


def test_a_run_that_cannot_be_read_is_left_out_with_a_warning(array, capsys):
    (array / "broken").mkdir()
    (array / "broken" / "run.json").write_text("{")
    assert show.main([str(array)]) == 0
    captured = capsys.readouterr()
    assert "(20 runs, 4 hosts)" in captured.out
    assert captured.err.startswith("warning: ")
    assert "the run is left out" in captured.err


@pytest.mark.parametrize(("arguments", "word"), [(["nowhere"], "no run there"), (["--protocol", "fast"], "'fast'")])
def test_an_error_of_the_user_is_one_line_and_status_2(array, capsys, monkeypatch, arguments, word):
    monkeypatch.chdir(array.parent)
    assert show.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("bench/show.py: error: ")
    assert word in error
    assert error.count("\n") == 1


def test_a_sweep_ends_with_the_same_table_of_hosts(tmp_path, capsys):
    """Of a run whose trials themselves say where they were trained."""
    run = store.create(tmp_path, builders.record(seeds=list(range(8))))
    for seed in range(8):
        laps = [{"name": "train", "epoch": 1, "seconds": 1 + 0.05 * (seed % 2) + seed * 1e-4}]
        run.append(builders.trial(seed, laps=laps, host={"hash": f"host{seed % 2}"}))
    run.finish("finished")
    sweep.print_runs(sweep.cli.make_console(), [run.path], sweep.parse(["digits/quick"]))
    of_sweep = capsys.readouterr().out
    assert show.main([str(tmp_path)]) == 0
    of_show = capsys.readouterr().out
    assert "NVIDIA H200: hosts" in of_show
    assert of_sweep.startswith(of_show)
    assert of_sweep.removeprefix(of_show) == f"record: {run.path}\n"
