"""Techniques against their baselines."""

from dataclasses import replace
from pathlib import Path

import pytest
from scipy import stats

from results.record import Lap, Run
from results.sequential import p_over_looks
from results.tables.techniques import baselines, techniques_table
from tests.results.builders import missed, record, trial

BASE = [0.960, 0.962, 0.964]
TUNED = [0.970, 0.972, 0.974]
BETTER = [0.980, 0.985, 0.984]


def run(trials, **changes):
    return Run(record(**changes), tuple(trials), Path("runs"))


def run_of(name, accuracies, **changes):
    trials = [trial(seed, accuracy=accuracy) for seed, accuracy in enumerate(accuracies)]
    recipe = {"epochs": 3, "change": f"the change of {name}"}
    return run(trials, **({"recipe_name": f"mnist/{name}", "recipe": recipe} | changes))


def rows(runs):
    table = techniques_table(runs, "strict")
    return {row[0]: dict(zip(table.headers, row, strict=True)) for row in table.rows}


def all_runs():
    return [run_of("base", BASE), run_of("base-tuned", TUNED), run_of("better", BETTER)]


def test_each_run_is_compared_with_both_baselines():
    row = rows(all_runs())["mnist/better"]
    raw = [stats.ttest_ind(side, TUNED, equal_var=False).pvalue for side in (BASE, BETTER)]
    smaller, p = stats.false_discovery_control(raw)
    assert smaller > raw[0]
    assert rows(all_runs())["mnist/base"]["over base-tuned, p"] == f"-1.00, {smaller:.2g}"
    assert row["over base, p"].startswith("+2.10, ")
    assert row["over base-tuned, p"] == f"+1.10, {p:.2g}"
    assert row["labels"] == "100"
    assert row["technique"] == "the change of better"


def test_the_table_says_that_p_is_adjusted_and_for_how_many():
    assert "the 2 comparisons of its column (Benjamini-Hochberg)" in techniques_table(all_runs(), "strict").caption


def test_a_baseline_is_not_compared_with_itself():
    table = rows(all_runs())
    assert table["mnist/base"]["over base, p"] == "–"
    assert table["mnist/base"]["over base-tuned, p"].startswith("-1.00")


def test_a_run_whose_mean_misses_the_target_has_no_total_time():
    low = run([missed(seed) for seed in range(3)], recipe_name="mnist/low")
    table = rows([run_of("base", BASE), low])
    assert (table["mnist/base"]["total s"], table["mnist/low"]["total s"]) == ("333,100", "–")


def test_the_time_to_a_threshold_counts_the_trials_that_reached_it():
    first, second = trial(0), trial(1, accuracy=0.951)
    high = second.model_copy(update={"epochs": tuple(replace(epoch, accuracy=0.975) for epoch in second.epochs)})
    table = rows([run_of("base", BASE), run([first, high], recipe_name="mnist/some")])
    assert table["mnist/some"]["s to 97%"] == "3,030 (1 of 2)"
    assert table["mnist/some"]["s to 98%"] == "–"


def test_one_baseline_is_enough_and_none_is_refused():
    assert rows([run_of("base", BASE), run_of("better", BETTER)])
    with pytest.raises(ValueError, match="no run is of a recipe called base or base-tuned"):
        techniques_table([run_of("better", BETTER)], "strict")


def test_smoke_tests_are_no_baselines():
    assert baselines([run_of("base", BASE, smoke_test=True)]) == {}


def test_a_trial_of_no_epoch_has_no_time():
    bare = run([trial(laps=[Lap(name="build", seconds=1.0)])], recipe_name="mnist/bare")
    row = rows([run_of("base", BASE), bare])["mnist/bare"]
    assert (row["total s"], row["s to 97%"]) == ("–", "–")


def test_p_of_a_run_that_looks_ended_is_over_all_looks():
    """A p of 1% at the first look is none for which one may stop there."""
    plan = {"looks": (16, 24, 32, 40)}
    base, better = ([0.95 + 0.002 * (seed % 8) + shift for seed in range(16)] for shift in (0.0, 0.0045))
    raw = stats.ttest_ind(base, better, equal_var=False).pvalue
    assert raw < 0.02

    def cell(**changes):
        found = rows([run_of("base", base), run_of("better", better, **changes)])["mnist/better"]
        return float(found["over base, p"].partition(", ")[2])

    assert cell() == pytest.approx(raw, rel=0.1)
    assert cell(plan=plan) == pytest.approx(p_over_looks(raw, [(plan["looks"], 16)]), rel=0.1)
    assert cell(plan=plan) > 0.05
