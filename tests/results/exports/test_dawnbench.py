"""DAWNBench's pair of files: its own rules hold of what is written, and what is read back is what was measured."""

import csv
import json

import pytest

from results.exports import dawnbench
from results.protocols import PROTOCOLS, elapsed, seconds_to_target
from results.record import EpochResult, Run
from results.summary import summarize
from tests.results.builders import record, trial

WHO = {"author": "A", "email": "a@example.org", "code_url": "https://example.org"}


@pytest.fixture
def run(tmp_path):
    return Run(record(), (trial(0), trial(1)), tmp_path / "a-run")


def rows_of(path):
    with path.open() as file:
        return list(csv.DictReader(file, delimiter="\t"))


def test_the_files_are_what_its_rules_ask_for(run, tmp_path):
    paths = dawnbench.write(run, tmp_path / "out", **WHO, cost_per_hour=2.5)
    assert [path.name for path in paths] == [f"a-run_seed{seed}.{kind}" for seed in (0, 1) for kind in ("json", "tsv")]
    described = json.loads(paths[0].read_text())
    assert tuple(described) == dawnbench.FIELDS
    assert (described["timestamp"], described["costPerHour"]) == ("2026-11-21", 2.5)
    rows = rows_of(paths[1])
    assert list(rows[0]) == ["epoch", "hours", "top1Accuracy"]
    assert [float(row["top1Accuracy"]) for row in rows] == [50.0, 94.0, 95.0]
    hours = [float(row["hours"]) for row in rows]
    assert hours == sorted(hours)
    assert hours[1] * 3600 == pytest.approx(seconds_to_target(run.trials[0], "dawnbench"))


def test_what_was_written_comes_back(run, tmp_path):
    path = dawnbench.write(run, tmp_path, **WHO)[0]
    back = dawnbench.read(path)
    (one,) = back.trials
    assert [result.accuracy for result in one.epochs] == pytest.approx([0.5, 0.94, 0.95])
    assert elapsed(one, "dawnbench") == pytest.approx(elapsed(run.trials[0], "dawnbench"))
    assert seconds_to_target(one, "dawnbench") == pytest.approx(seconds_to_target(run.trials[0], "dawnbench"))
    assert back.record.environment.origin == "DAWNBench, A"
    assert back.machine == "NVIDIA H200"
    assert dawnbench.read(path).record.id == back.record.id


def test_what_is_imported_has_a_time_by_its_own_protocol_alone(run, tmp_path):
    back = dawnbench.read(dawnbench.write(run, tmp_path, **WHO)[0])
    known = {protocol: summarize(back, protocol).time_to_target.samples for protocol in PROTOCOLS}
    assert {protocol for protocol, samples in known.items() if samples} == {"dawnbench"}


def test_a_submission_of_somebody_else(tmp_path):
    """Fields and rows as its README shows them; the time to 94% is that of the first row at or over it."""
    described = dict.fromkeys(dawnbench.FIELDS, "x") | {"timestamp": "2017-08-14", "costPerHour": 0.9, "misc": {}}
    (tmp_path / "theirs.json").write_text(json.dumps(described))
    rows = "epoch\thours\ttop1Accuracy\n1\t0.01\t40.5\n2\t0.02\t94.0\n3\t0.03\t94.5\n"
    (tmp_path / "theirs.tsv").write_text(rows)
    (one,) = dawnbench.read(tmp_path / "theirs.json").trials
    assert one.outcome == "reached"
    assert seconds_to_target(one, "dawnbench") == pytest.approx(72)
    (late,) = dawnbench.read(tmp_path / "theirs.json", target=0.96).trials
    assert late.outcome == "missed"


@pytest.mark.parametrize(
    ("json_changes", "tsv", "told"),
    [
        ({"model": None}, "epoch\thours\ttop1Accuracy\n1\t1\t940\n", "less than or equal to 1"),
        ({}, "epoch,hours,top1Accuracy\n", "its header is not"),
        ({}, "epoch\thours\ttop1Accuracy\n", "not enough values"),
        ({}, "epoch\thours\ttop1Accuracy\n1\t2\t90\n2\t1\t91\n", "greater than or equal to 0"),
        ({"timestamp": "14.8.2017"}, "epoch\thours\ttop1Accuracy\n1\t2\t90\n", "does not match"),
    ],
)
def test_what_is_no_submission_is_refused_by_its_file(tmp_path, json_changes, tsv, told):
    described = dict.fromkeys(dawnbench.FIELDS, "x") | {"timestamp": "2017-08-14"} | json_changes
    (tmp_path / "wrong.json").write_text(json.dumps(described))
    (tmp_path / "wrong.tsv").write_text(tsv)
    with pytest.raises(ValueError, match="wrong.*" + told):
        dawnbench.read(tmp_path / "wrong.json")


@pytest.mark.parametrize("text", ["", "[]", "{}", "null"])
def test_json_that_is_no_submission(tmp_path, text):
    (tmp_path / "wrong.json").write_text(text)
    (tmp_path / "wrong.tsv").write_text("")
    with pytest.raises(ValueError, match="wrong.json"):
        dawnbench.read(tmp_path / "wrong.json")


def test_a_trial_without_accuracies_is_refused_and_nothing_is_written(tmp_path):
    silent = Run(record(), (trial(0), trial(1, epochs=[EpochResult(epoch=1)])), tmp_path / "a-run")
    with pytest.raises(ValueError, match="seed=1: no epoch has both"):
        dawnbench.write(silent, tmp_path / "out", **WHO)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("model", "rows", "lacks", "seconds"),
    [
        ("basenet", [(0, 0.003508641587363349, 55.55), (30, 0.0946198488606347, 94.08)], (), 340.6314558982849),
        ("Apple", [(0, 0.0007619220066569849, 38.54), (14, 0.0026191027585688665, 94.1)], ("costPerHour",), 9.42876993),
        ("davidcpage", [(1, 0.00152249, 34.69), (24, 0.02056706, 94.08)], (), 74.041416),
        (
            "ResNet 164",
            [(1.00096, 0.602, 49.5), (161.15456, 94.16300312399864, 94.02)],
            ("codeURL", "misc"),
            338986.811246,
        ),
    ],
    ids=["epochs from 0", "no price", "epochs from 1", "fractions of epochs"],
)
def test_times_to_94_percent_of_published_submissions(tmp_path, model, rows, lacks, seconds):
    """First and deciding rows as in stanford-futuredata/dawn-bench-entries, CIFAR10/train."""
    described = dict.fromkeys(dawnbench.FIELDS, "x") | {"timestamp": "2018-04-20", "model": model}
    (tmp_path / "theirs.json").write_text(json.dumps({key: described[key] for key in described if key not in lacks}))
    table = "\r\n".join("\t".join(map(str, row)) for row in [dawnbench.HEADER, *rows])
    (tmp_path / "theirs.tsv").write_text(table, encoding="utf-8-sig", newline="")
    run = dawnbench.read(tmp_path / "theirs.json")
    assert seconds_to_target(run.trials[0], "dawnbench") == pytest.approx(seconds)
    assert run.record.recipe["title"] == model


def test_rows_out_of_order_are_refused(tmp_path):
    described = dict.fromkeys(dawnbench.FIELDS, "x") | {"timestamp": "2018-04-20"}
    (tmp_path / "theirs.json").write_text(json.dumps(described))
    (tmp_path / "theirs.tsv").write_text("epoch\thours\ttop1Accuracy\n2\t0.01\t40.5\n1\t0.02\t94.0\n")
    with pytest.raises(ValueError, match="epochs do not rise"):
        dawnbench.read(tmp_path / "theirs.json")


def test_a_cell_that_no_table_has_is_one_line(tmp_path):
    described = dict.fromkeys(dawnbench.FIELDS, "x") | {"timestamp": "2017-08-14"}
    (tmp_path / "theirs.json").write_text(json.dumps(described))
    (tmp_path / "theirs.tsv").write_text("epoch\thours\ttop1Accuracy\n" + "1" * 200_000 + "\t1\t1\n")
    with pytest.raises(ValueError, match="cannot be read as a submission: field larger than field limit"):
        dawnbench.read(tmp_path / "theirs.json")
