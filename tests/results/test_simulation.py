"""The stated rates, by few draws; and those that are committed, which come from many."""

import csv
import math
from pathlib import Path

import pytest

from bench import simulate
from results import simulation
from results.gate import LEVEL

COMMITTED = Path(simulate.FOLDER)


def most(rate, draws):
    """A share that a true `rate` exceeds once in a thousand times."""
    return rate + 3.1 * math.sqrt(rate * (1 - rate) / draws)


def false(row):
    """The share of false verdicts."""
    return {
        "none": max(row["worse"], row["better"]),
        "+1 limit": row["same"],
        "-1 limit": row["same"],
        "+2.5 limits": row["same"],
    }[row["true change"]]


@pytest.mark.parametrize("n", [5, 10, 20, 50])
def test_false_verdicts_are_as_rare_as_stated(n):
    rows = simulation.verdict_rates(n, 200)
    assert {row["compared"] for row in rows} == {"time", "time, interleaved", "accuracy"}
    assert [row for row in rows if false(row) > most(LEVEL, 200)] == []
    assert all(sum(row[name] for name in ("worse", "better", "same", "undecided")) == pytest.approx(1) for row in rows)


def test_planned_looks_keep_the_error_rates_and_spare_trials():
    rows = simulation.sequential_rates(60)
    planned = [row for row in rows if row["looks"] == "planned looks"]
    assert {row["compared"] for row in planned} == {"time, interleaved", "accuracy"}
    assert [row for row in planned if false(row) > most(LEVEL, 60)] == []
    for row in planned:
        assert row["mean trials"] < (25 if row["true change"] == "+2.5 limits" else simulation.MOST)


def test_three_trials_a_side_decide_nothing_by_ranks():
    rows = [row for row in simulation.verdict_rates(3, 50) if row["compared"] != "accuracy"]
    assert {row["undecided"] for row in rows} == {1.0}


@pytest.mark.parametrize("n", [3, 6, 20])
def test_intervals_hold_as_often_as_stated(n):
    for row in simulation.interval_rates(n, 300):
        assert row["holds"] is None or row["holds"] >= 1 - most(0.05, 300), row
        assert (row["holds"] is None) == (n == 3 and "time" in row["interval of"])


def test_of_many_comparisons_with_one_base_few_discoveries_are_false():
    plain, adjusted = simulation.discovery_rates(100)
    assert adjusted["false"] <= 0.05 < plain["false"]


def test_a_planted_slow_down_raises_an_alarm_and_the_same_code_does_not():
    assert simulation.night_rates(40, 0.05, 0.004)["alarms"] > 0.9
    assert simulation.night_rates(40, 0.0, 0.004)["alarms"] <= most(LEVEL, 40)


def test_equal_hosts_are_seldom_named_and_a_slow_one_is():
    (equal, slower) = simulation.slow_host_rates(150, designs=((10,) * 8,))
    assert equal["some host is named"] <= most(LEVEL, 150)
    assert slower["the first is slower"] > 0.95


def committed(name):
    with (COMMITTED / f"{name}.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_committed_rates_are_those_stated():
    for row in committed("verdicts"):
        numbers = {name: float(row[name]) for name in ("worse", "better", "same")}
        assert false({"true change": row["true change"]} | numbers) <= most(LEVEL, int(row["draws"])), row
    for row in committed("intervals"):
        assert not row["holds"] or float(row["holds"]) >= 1 - most(0.05, int(row["draws"])), row
    for row in committed("hosts"):
        assert float(row["holds"]) >= 1 - most(0.05, int(row["draws"])), row
    equal = [row for row in committed("slow-hosts") if not float(row["the first is slower by"])]
    assert len(equal) == len(simulation.ALIKE)
    for row in equal:
        assert float(row["some host is named"]) <= LEVEL, row
    assert float(committed("discoveries")[1]["false"]) <= 0.05
    for row in committed("sequential"):
        shares = {name: float(row[name]) for name in ("worse", "better", "same")}
        wrong = false({"true change": row["true change"]} | shares)
        if row["looks"] != "every trial":
            assert wrong <= LEVEL, row
        elif row["true change"] in ("+1 limit", "-1 limit"):
            assert wrong > LEVEL, row
    for row in committed("bisection"):
        if row["trials"].startswith("planned looks"):
            assert float(row["bad" if row["true change"] == "none" else "good"]) <= LEVEL, row
    for row in committed("nights"):
        if float(row["slow-down"]):
            assert float(row["alarms"]) > (0.9 if row["hosts"] == "1" else 0.6)
        else:
            assert float(row["alarms"]) <= LEVEL


@pytest.mark.slow
def test_the_committed_rates_are_what_the_command_writes_today():
    """One number of trials with all draws; the rest would take minutes."""
    draws = int(committed("intervals")[0]["draws"])
    row = {row["interval of"]: row for row in simulation.interval_rates(6, draws)}["median time"]
    then = next(one for one in committed("intervals") if (one["interval of"], one["trials"]) == ("median time", "6"))
    assert row["holds"] == float(then["holds"])


def test_the_command_writes_every_table(tmp_path):
    assert simulate.main(["--draws", "4", "--out", str(tmp_path)]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {
        "README.md",
        "verdicts.csv",
        "intervals.csv",
        "hosts.csv",
        "slow-hosts.csv",
        "discoveries.csv",
        "sequential.csv",
        "bisection.csv",
        "nights.csv",
    }
    rows = (tmp_path / "verdicts.csv").read_text().splitlines()
    assert len(rows) == 1 + len(simulation.TRIALS) * len(simulation.COMPARISONS) * len(simulation.CHANGES)
    assert "| median time | 3 | 4 | – |" in (tmp_path / "README.md").read_text()
