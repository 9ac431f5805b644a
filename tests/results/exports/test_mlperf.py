"""MLPerf's own parser accepts the log, and its interval is what its rules put into it."""

import sys
from itertools import pairwise

import pytest

from results.exports import mlperf
from results.record import Run
from tests.results.builders import missed, record, trial


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
