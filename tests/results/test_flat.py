"""Flat tables hold what the runs hold."""

import pytest

from results.flat import COLUMNS, tables
from results.record import Run
from results.summary import summarize
from tests.results.builders import CREATED, missed, record, trial


@pytest.fixture
def runs(tmp_path):
    first = Run(record(id="aaaa", seeds=[0, 1]), (trial(0), missed(1)), tmp_path / "a")
    second = Run(
        record(id="bbbb", environment={"machine_class": {"unknown": "x"}}, smoke_test=True), (), tmp_path / "b"
    )
    return [first, second]


def test_every_table_has_the_columns_that_it_declares(runs):
    found = tables(runs, "strict")
    for name, columns in COLUMNS.items():
        for row in getattr(found, name):
            assert list(row) == [column.name for column in columns]
    assert [len(rows) for rows in (found.runs, found.trials, found.epochs, found.laps)] == [2, 2, 3, 32]


def test_a_row_of_a_run_is_its_summary(runs):
    row, empty = tables(runs, "airbench").runs
    summary = summarize(runs[0], "airbench")
    assert (row["trials"], row["reached"], row["accuracy"]) == (2, 1, pytest.approx(0.925))
    assert row["time_to_target"] == summary.time_to_target.value is not None
    assert row["total_time"] is None, "its mean accuracy misses the target"
    assert (empty["trials"], empty["accuracy"], empty["machine"], empty["smoke_test"]) == (0, None, None, True)


def test_rows_of_trials_epochs_and_laps_lead_back_to_their_run(runs):
    found = tables(runs, "strict")
    for rows in (found.trials, found.epochs, found.laps):
        assert {(row["run"], row["recipe"]) for row in rows} == {("aaaa", "cifar10/airnet")}
    assert [row["accuracy"] for row in found.epochs] == [0.5, 0.94, 0.95]
    assert sum(row["seconds"] for row in found.laps if row["seed"] == 1 and row["name"] == "train") == 222_000


def test_a_trial_that_missed_has_a_total_time_and_no_time_to_target(runs):
    reached, miss = tables(runs, "strict").trials
    assert reached["time_to_target"] < reached["total_time"] == miss["total_time"]
    assert (miss["time_to_target"], miss["epochs_to_target"]) == (None, None)


def test_a_trial_says_when_and_where_it_was_trained(tmp_path):
    environment = {"host_hash": "h1", "gpus": [{"index": 0, "uuid": "aaaa-1"}, {"index": 1, "uuid": "bbbb-2"}]}
    of_run = Run(record(environment=environment, seeds=[0]), (trial(0, started=CREATED),), tmp_path)
    own = Run(record(environment=environment), (trial(0, host={"hash": "h2"}),), tmp_path)
    unknown = Run(record(seeds=[0]), (trial(0),), tmp_path)
    rows = [(row["started"], row["host"], row["gpus"]) for row in tables([of_run, own, unknown], "strict").trials]
    assert rows == [("2026-11-21 10:57:31", "h1", "aaaa-1, bbbb-2"), (None, "h2", None), (None, None, None)]


def test_an_unknown_protocol_is_refused():
    with pytest.raises(ValueError, match="protocol='mine'"):
        tables([], "mine")
