"""MLPerf's own parser accepts the log, and its interval is what its rules put into it."""

import json
import sys
from itertools import pairwise

import pytest

from results.exports import mlperf
from results.record import Lap, Run
from tests.results.builders import laps, missed, record, trial


def test_its_own_parser_accepts_it(tmp_path):
    pytest.importorskip("mlperf_logging")
    from mlperf_logging.compliance_checker import mlp_parser

    path = tmp_path / "x.log"
    one = trial(7)
    mlperf.write(Run(record(seeds=[7]), (one,), tmp_path), one, path)
    lines, errors = mlp_parser.parse_file(str(path), ruleset="5.1.0")
    assert errors == []
    keys = [line.key for line in lines]
    assert keys.count("epoch_start") == keys.count("epoch_stop") == keys.count("eval_accuracy") == 3
    assert all(before.timestamp <= after.timestamp for before, after in pairwise(lines))
    at = {line.key: line for line in lines}
    assert at["seed"].value["value"] == 7
    whole = sum(lap.seconds for lap in one.laps if lap.name not in ("startup", "build", "compile"))
    assert at["run_stop"].timestamp - at["run_start"].timestamp == pytest.approx(1000 * whole, abs=1)
    assert at["run_stop"].value["metadata"]["status"] == "success"


WHOLE = sum(lap.seconds for lap in laps() if lap.name not in ("build", "compile"))
SKIPPED = [result for result in trial().epochs if result.epoch != 2]
OWN = [Lap(name="load", seconds=1), Lap(name="train", seconds=5)]
COMMAND = [Lap(name="command", seconds=50), Lap(name="compile", seconds=10), Lap(name="train", epoch=1, seconds=20)]


@pytest.mark.parametrize(
    ("changes", "seconds"),
    [
        ({"laps": laps(pretrain=300)}, 300 + WHOLE),
        ({"epochs": SKIPPED}, WHOLE),
        ({"laps": OWN}, 6),
        ({"laps": COMMAND}, 40),
    ],
    ids=["pretraining", "an epoch that is not reported", "laps without epochs", "a command"],
)
def test_all_that_was_trained_is_in_the_interval(tmp_path, changes, seconds):
    pytest.importorskip("mlperf_logging")
    one = trial(started="2026-11-22T00:00:00Z", **changes)
    mlperf.write(Run(record(), (one,), tmp_path), one, tmp_path / "x.log")
    lines = [json.loads(line.removeprefix(":::MLLOG ")) for line in (tmp_path / "x.log").read_text().splitlines()]
    at = {line["key"]: line["time_ms"] for line in lines}
    assert at["run_stop"] - at["run_start"] == pytest.approx(1000 * seconds, abs=1)
    assert at["run_start"] <= at["epoch_stop"] <= at["run_stop"]
    assert at["init_start"] == 1000 * one.started.timestamp(), "the trials of a run do not overlap"


def test_a_miss_is_no_success(tmp_path):
    pytest.importorskip("mlperf_logging")
    path = tmp_path / "x.log"
    path.write_text("old")
    mlperf.write(Run(record(), (missed(),), tmp_path), missed(), path)
    assert '"status": "aborted"' in path.read_text()
    assert "old" not in path.read_text()


def test_without_the_library_it_is_said_what_to_install(tmp_path, monkeypatch):
    for name in ("mlperf_logging", "mlperf_logging.mllog"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ValueError, match=r"pip install -e '\.\[mlperf\]'"):
        mlperf.write(Run(record(), (), tmp_path), trial(), tmp_path / "x.log")
