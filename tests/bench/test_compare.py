"""bench/compare.py as its caller sees it: what it prints, and its exit status."""

import csv
import io
import json
import os
import re
import resource
import subprocess
import sys
import time

import pytest

from bench import compare
from results.record import Lap
from results.store import create
from tests.bench.conftest import ROOT
from tests.results import builders
from tests.results.builders import benchmark_file, record, trial

STEADY = [1.0, 1.001, 0.999, 1.002, 0.998, 1.0005, 0.9995, 1.0015]


def keep(root, factor=1.0, seconds=STEADY, name="cifar10/airnet", **changes):
    """A run whose trials took these times. Returns its directory."""
    given = {"id": f"id{len(list(root.glob('*'))):02}", "recipe_name": name, "seeds": list(range(len(seconds)))}
    run = create(root, record(**(given | changes)))
    for seed, second in enumerate(seconds):
        run.append(trial(seed, epochs=(), laps=[Lap(name="train", epoch=1, seconds=factor * second)]))
    return run.path


@pytest.mark.parametrize(("factor", "status", "verdict"), [(1.05, 1, "worse"), (1.0, 0, "same"), (0.9, 0, "better")])
def test_status_and_verdict(tmp_path, capsys, factor, status, verdict):
    sides = [str(keep(tmp_path)), str(keep(tmp_path, factor))]
    assert compare.main([*sides, "--format", "json"]) == status
    (time_row, crossing, accuracy) = json.loads(capsys.readouterr().out)
    assert (time_row["metric"], time_row["verdict"]) == ("time", verdict)
    assert time_row["change"] == pytest.approx(factor)
    assert time_row["low"] < factor < time_row["high"]
    assert (crossing["metric"], crossing["verdict"]) == ("time-to-target", "not comparable")
    assert (accuracy["change"], accuracy["verdict"]) == (0, "same")


def test_json_is_an_object_a_line_and_with_format_an_array(tmp_path, capsys):
    sides = [str(keep(tmp_path)), str(keep(tmp_path, 1.05))]
    compare.main([*sides, "--json"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    compare.main([*sides, "--format", "json"])
    assert lines == json.loads(capsys.readouterr().out)
    assert [one["metric"] for one in lines] == ["time", "time-to-target", "accuracy"]
    assert "laps" not in lines[0]


def with_laps(root, **seconds):
    """A run whose trials have these laps."""
    run = create(root, record(id=f"id{len(list(root.glob('*'))):02}", seeds=list(range(len(STEADY)))))
    for seed, factor in enumerate(STEADY):
        laps = [Lap(name=name, epoch=1, seconds=factor * one) for name, one in seconds.items()]
        run.append(trial(seed, epochs=(), laps=laps))
    return str(run.path)


def test_laps_are_a_table_below_and_a_key_of_the_json(tmp_path, capsys):
    sides = [with_laps(tmp_path, augment=1, train=4), with_laps(tmp_path, augment=1.2, train=4)]
    assert compare.main([*sides, "--laps"]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert re.search(r"time augment 1\.0\d+ 1\.2\d+ \+20\.0% \[\+19\.\d%, \+20\.\d%\] \+0\.2\d+", said)
    assert re.search(r"time train 4\.0\d+ 4\.0\d+ \+0\.0% \[-0\.\d%, \+0\.\d%\] \+0\.0000", said)
    assert said.index("Limits: time:2%") < said.index("laps") < said.index("so that the parts add up")
    compare.main([*sides, "--laps", "--json"])
    time_row, _, accuracy = map(json.loads, capsys.readouterr().out.splitlines())
    assert [one["lap"] for one in time_row["laps"]] == ["augment", "train"]
    assert time_row["laps"][0]["part"] == pytest.approx(0.2, rel=0.01)
    assert accuracy["laps"] == []
    compare.main([*sides, "--laps", "--format", "markdown"])
    assert "| cifar10/airnet | time | train |" in capsys.readouterr().out


def test_laps_have_no_place_in_csv(tmp_path, capsys):
    sides = [str(keep(tmp_path)), str(keep(tmp_path))]
    assert compare.main([*sides, "--laps", "--format", "csv"]) == 2
    assert "--laps with --format csv" in capsys.readouterr().err


def test_the_factor_is_the_callers(tmp_path):
    sides = [str(keep(tmp_path)), str(keep(tmp_path, 1.05))]
    assert compare.main([*sides, "--fail-on", "time:4%"]) == 1
    assert compare.main([*sides, "--fail-on", "time:6%"]) == 0
    assert compare.main([*sides, "--fail-on", "accuracy:0.1"]) == 0


@pytest.mark.parametrize(
    "arguments", [["nothing", "nothing"], ["--fail-on", "time:5"], ["--protocol", "mine"], ["--across", "weather"]]
)
def test_what_can_not_be_compared_is_one_line_and_status_2(tmp_path, capsys, arguments):
    sides = [] if arguments[0] == "nothing" else [str(keep(tmp_path)), str(keep(tmp_path))]
    assert compare.main([*sides, *arguments]) == 2
    said = capsys.readouterr().err
    assert said.startswith("bench/compare.py: error: ")
    assert said.count("\n") == 1


def test_csv_and_markdown_hold_what_json_holds(tmp_path, capsys):
    sides = [str(keep(tmp_path, name="a|b")), str(keep(tmp_path, 1.05, name="a|b"))]
    compare.main([*sides, "--format", "csv"])
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["metric"] for row in rows] == ["time", "time-to-target", "accuracy"]
    assert rows[0]["verdict"] == "worse"
    assert float(rows[0]["change"]) == pytest.approx(1.05)
    compare.main([*sides, "--format", "markdown"])
    assert r"| a\|b | time | 1.000 s (n = 8) | 1.050 s (n = 8) | +5.0% \[" in capsys.readouterr().out
    compare.main(sides)
    assert "worse" in capsys.readouterr().out


def test_a_folder_whose_name_is_no_utf8_is_read(tmp_path, capsys):
    before, after = keep(tmp_path / "\udcff"), keep(tmp_path / "\udcff", 1.05)
    with (after / "trials.jsonl").open("a") as file:
        file.write("torn")
    assert compare.main([str(before), str(after), "--json"]) == 1
    out, err = capsys.readouterr()
    assert json.loads(out.splitlines()[0])["verdict"] == "worse"
    assert "skipped a damaged line" in err


def test_a_damaged_line_is_a_warning(tmp_path, capsys):
    before, after = keep(tmp_path), keep(tmp_path)
    with (after / "trials.jsonl").open("a") as file:
        file.write("torn")
    compare.main([str(before), str(after)])
    assert "skipped a damaged line" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("word", "name"), [("mine.yaml", "mine"), ("./{}", "mine.py:train"), ("../{folder}/{}", "mine.py:train")]
)
def test_a_recipe_is_written_as_for_a_run(tmp_path, monkeypatch, capsys, word, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").touch()
    for one in (name, "other"):
        keep(tmp_path / "runs", name=one)
    assert compare.main([word.format(name, folder=tmp_path.name), "other"]) == 0
    assert f"{name} →" in capsys.readouterr().out


def test_a_run_without_a_trial_is_a_warning(tmp_path, capsys):
    for side in "ab":
        keep(tmp_path / side)
    broken_off = keep(tmp_path / "b", seconds=[], recipe_hash="another", seeds=[0])
    assert compare.main([str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    assert capsys.readouterr().err == f"warning: {broken_off} has no trial\n"


def test_a_recipe_on_one_side_alone_is_a_warning(tmp_path, capsys):
    old, new = tmp_path / "old", tmp_path / "new"
    for name in ("shared", "gone", "gone"):
        keep(old, name=name)
    for name in ("shared", "added"):
        keep(new, name=name)
    assert compare.main([str(old), str(new)]) == 0
    assert capsys.readouterr().err == "warning: gone is only on the old side\nwarning: added is only on the new side\n"
    compare.main([str(keep(tmp_path, name="one")), str(keep(tmp_path, name="other"))])
    assert capsys.readouterr().err == ""


def cpu_seconds(*command):
    """Of a command and its children, user and system together: a busy machine does not change it much."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return done, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_help_waits_for_neither_scipy_nor_pydantic():
    done, _ = cpu_seconds("-X", "importtime", "bench/compare.py", "--help")
    assert done.returncode == 0
    assert "exit status: 0 ok, 1 worse, 2 " in done.stdout
    modules = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "bench.command_line.options" in modules
    assert modules.isdisjoint({"numpy", "pydantic", "rich", "scipy", "torch"})


PARSE = """
import json, pathlib, sys
for path in pathlib.Path(sys.argv[1]).glob("*/*/trials.jsonl"):
    for line in path.read_bytes().splitlines():
        json.loads(line)
"""


@pytest.mark.slow
def test_comparing_two_thousand_runs_of_twenty_trials_takes_at_most_twelve_times_as_long_as_parsing_them(tmp_path):
    """Against Python's json, which only parses the lines, because a busy machine slows down both alike."""
    epochs = [{"epoch": epoch, "train_loss": 1 / epoch, "accuracy": 0.9 + epoch / 200} for epoch in range(1, 9)]
    marked = "987.25"
    laps = [
        Lap(name=lap, epoch=epoch, seconds=float(marked))
        for epoch in range(1, 9)
        for lap in ("augment", "train", "evaluate")
    ]
    trials = (trial(seed, accuracy=0.94, epochs=epochs, laps=laps, target=0.93) for seed in range(20))
    lines = "".join(f"{one.model_dump_json()}\n" for one in trials)
    assert lines.count(marked) == 20 * len(laps)
    for side in ("a", "b"):
        for number in range(1000):
            name = f"suite/{number}"
            path = create(tmp_path / side, record(id=f"id{number:04}", recipe_name=name, seeds=list(range(20)))).path
            seconds = 1 + (number * 7919 % 101) / 5000
            (path / "trials.jsonl").write_text(lines.replace(marked, str(seconds)))
    start = time.monotonic()
    done, processor = cpu_seconds("bench/compare.py", tmp_path / "a", tmp_path / "b", "--format", "csv")
    print(f"{time.monotonic() - start:.1f} s, {processor:.1f} s of the processor")
    assert done.returncode in (0, 1), done.stderr
    assert done.stdout.count("\n") == 1 + 3000
    (tmp_path / "parse.py").write_text(PARSE)
    parsed, json_alone = cpu_seconds(tmp_path / "parse.py", tmp_path)
    assert parsed.returncode == 0, parsed.stderr
    print(f"json alone: {json_alone:.1f} s")
    assert processor < 12 * json_alone


def test_files_of_pytest_benchmark_are_sides_too(tmp_path, capsys):
    for name, factor in (("before", 1.0), ("after", 1.05)):
        for number, second in enumerate(STEADY):
            benchmark_file(tmp_path / name / f"{number}.json", step=factor * second)
    sides = [str(tmp_path / "before"), str(tmp_path / "after")]
    assert compare.main([*sides, "--format", "json"]) == 1
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["recipe"], row["verdict"], row["protocol"]) == (
        "test_kernels.py::test_step",
        "worse",
        "pytest-benchmark",
    )
    assert compare.main([f"{sides[0]}/0.json", f"{sides[1]}/0.json"]) == 2
    assert "the median round of the benchmark" in " ".join(capsys.readouterr().out.split())
    assert compare.main([sides[0], str(keep(tmp_path / "runs"))]) == 2


def test_throttled_trials_can_be_left_out(tmp_path, capsys):
    before, after = keep(tmp_path), keep(tmp_path, seconds=[*STEADY, 3.0, 3.0, 3.0])
    hot = builders.throttled().gpus
    lines = [json.loads(line) for line in (after / "trials.jsonl").read_text().splitlines()]
    for line in lines[-3:]:
        line["gpus"] = [gpu.model_dump() for gpu in hot]
    (after / "trials.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    compare.main([str(before), str(after), "--json"])
    time_row, *_ = map(json.loads, capsys.readouterr().out.splitlines())
    assert (time_row["after_trials"], time_row["after_marks"]) == (len(STEADY) + 3, ["3 throttled"])
    assert compare.main([str(before), str(after), "--json", "--discard-throttled"]) == 0
    said = capsys.readouterr()
    time_row, *_ = map(json.loads, said.out.splitlines())
    assert (time_row["after_trials"], time_row["after_marks"], time_row["change"]) == (len(STEADY), [], 1)
    assert f"warning: {after}: 3 of {len(STEADY) + 3} trials are left out: throttled\n" in said.err
