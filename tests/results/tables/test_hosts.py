"""The table of the hosts of a run."""

from pathlib import Path

import pytest

from results.record import Run
from results.tables.hosts import hosts_table
from tests.results import builders


def run_over(seconds, unknown=0):
    """A run of a trial for each of the seconds of each host; `unknown`: trials whose host is not known."""
    each = [(host, one) for host, times in seconds.items() for one in times] + [(None, 1.0)] * unknown
    trials = [
        builders.trial(seed, host=host, laps=[{"name": "train", "epoch": 1, "seconds": one}])
        for seed, (host, one) in enumerate(
            (host and {"hash": host, "gpus": [f"{host}{host}-4567-89ab"]}, one) for host, one in each
        )
    ]
    return Run(builders.record(seeds=list(range(len(trials)))), trials, Path("runs/x"))


def times(factor=1.0):
    return [factor * one for one in builders.STEADY]


def test_a_slow_host_is_named_with_its_gpus_and_its_ratio_to_the_others():
    table = hosts_table(run_over({"abcd": times(), "bcde": times(1.05), "cdef": times(), "def0": times()}), "strict")
    assert table.title == "cifar10/airnet, NVIDIA H200: hosts"
    first, *others = [dict(zip(table.headers, row, strict=True)) for row in table.rows]
    assert (first["host"], first["GPUs"], first["trials"], first["difference"]) == ("bcde", "bcdebcde", "8", "slower")
    assert first["total s"].startswith("1.050 [")
    assert first["over the other hosts"].startswith("+5.0% [+4.")
    assert {row["difference"] for row in others} == {"–"}
    assert (
        "p adjusted for 4 hosts (Benjamini-Hochberg). slower, faster: p up to 0.05, and at least 2%;" in table.caption
    )
    assert "4 hosts, spread " in table.caption
    assert "GPUs: the first 8 characters of their UUIDs." in table.caption
    assert "No total time" not in table.caption


def test_hosts_that_are_not_pooled_are_shown_with_the_reason():
    table = hosts_table(run_over({"abcd": times(), "bcde": times(1.2)}), "strict")
    assert "No total time: its hosts differ by 20%, more than 10%." in table.caption


def test_on_cpus_there_is_no_column_of_gpus():
    run = run_over({"abcd": times(), "bcde": times()})
    trials = [one.model_copy(update={"host": one.host.model_copy(update={"gpus": ()})}) for one in run.trials]
    assert "GPUs" not in hosts_table(Run(run.record, trials, run.path), "strict").headers


def test_marks_and_trials_without_a_host_are_told():
    run = run_over({"abcd": [1.0], "bcde": [1.0]}, unknown=2)
    marked = [run.trials[0].model_copy(update={"foreign_load": 0.5}), *run.trials[1:]]
    table = hosts_table(Run(run.record, marked, run.path), "strict")
    assert sorted(row[0] for row in table.rows) == ["abcd ‡", "bcde"]
    assert "Trials whose host is not known: 2." in table.caption
    assert "‡ other processes" in table.caption


def test_a_host_says_of_how_many_of_its_trials_its_time_is():
    run = run_over({"abcd": [1.0, 1.0], "bcde": [1.0]})
    failed = builders.trial(9, host={"hash": "bcde"}, outcome="failed", reason="x", accuracy=None)
    table = hosts_table(Run(run.record, [*run.trials, failed], run.path), "strict")
    assert {row[0]: row[table.headers.index("trials")] for row in table.rows} == {"abcd": "2", "bcde": "1 of 2"}


@pytest.mark.parametrize("seconds", [{"abcd": [1.0, 1.0]}, {None: [1.0, 1.0]}])
def test_one_host_has_no_table(seconds):
    assert hosts_table(run_over(seconds), "strict") is None
