from pathlib import Path

import pytest
from scipy import stats

from results.baselines import baselines, techniques_table
from results.overview import overview
from results.record import Run
from tests.results.builders import record, trial

BASE = [0.960, 0.962, 0.964]
TUNED = [0.970, 0.972, 0.974]
BETTER = [0.980, 0.985, 0.984]


def run(trials, **changes):
    return Run(record(**changes), tuple(trials), Path("runs"))


def run_of(name, accuracies, **changes):
    trials = [trial(seed, accuracy=accuracy) for seed, accuracy in enumerate(accuracies)]
    recipe = {"epochs": 3, "trick": f"the trick of {name}"}
    return run(trials, **({"recipe_name": f"mnist/{name}", "recipe": recipe} | changes))


def rows(table):
    return {row[0]: dict(zip(table.headers, row, strict=True)) for row in table.rows}


def all_runs():
    return [run_of("base", BASE), run_of("base-tuned", TUNED), run_of("better", BETTER)]


def test_each_run_is_compared_with_both_baselines():
    row = rows(techniques_table(all_runs(), "record"))["mnist/better"]
    p = stats.ttest_ind(BETTER, TUNED, equal_var=False).pvalue
    assert row["over base, p"].startswith("+2.10, ")
    assert row["over base-tuned, p"] == f"+1.10, {p:.1g}"
    assert row["labels"] == "100"
    assert row["technique"] == "the trick of better"


def test_a_baseline_is_not_compared_with_itself():
    table = rows(techniques_table(all_runs(), "record"))
    assert table["mnist/base"]["over base, p"] == "–"
    assert table["mnist/base"]["over base-tuned, p"].startswith("-1.00")


def test_the_time_to_a_threshold_counts_the_trials_that_came_there():
    first, second = trial(0), trial(1, accuracy=0.951)
    high = second.model_copy(
        update={"epochs": tuple(epoch.model_copy(update={"accuracy": 0.975}) for epoch in second.epochs)}
    )
    table = rows(techniques_table([run_of("base", BASE), run([first, high], recipe_name="mnist/some")], "record"))
    assert table["mnist/some"]["s to 97%"].endswith("(1 of 2)")
    assert table["mnist/some"]["s to 98%"] == "–"


def test_one_baseline_is_enough_and_none_is_refused():
    assert techniques_table([run_of("base", BASE), run_of("better", BETTER)], "record").rows
    with pytest.raises(ValueError, match="none of the runs is of a recipe called base or base-tuned"):
        techniques_table([run_of("better", BETTER)], "record")


def test_sample_runs_are_no_baselines():
    assert baselines([run_of("base", BASE, sample=True)]) == {}


def test_the_overview_of_runs_is_the_table_that_fits_them():
    assert [table.title for table in overview(all_runs(), "record")] == ["techniques"]
    rungs = [run_of(name, BASE, recipe_name=f"cifar10/ladder/{name}") for name in ("00-start", "01-trick")]
    assert [table.title for table in overview(rungs, "record")] == ["ladder"]
    assert [table.title for table in overview(all_runs()[2:] * 2, "record")] == ["record time"]
    assert [table.title for table in overview(all_runs()[:1], "record")] == ["record time"]


def test_base_cases_of_different_folders_are_not_held_against_each_other():
    runs = [run_of("mnist/base", [0.96, 0.97]), run_of("digits/quick", [0.98, 0.99])]
    titles = [table.title for table in overview(runs, "record")]
    assert "techniques" not in titles
