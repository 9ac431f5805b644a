"""Marks of trials: when they apply, that every table shows them, and that marked trials can be left out."""

from pathlib import Path

import pytest

from results import marks
from results.flat import tables
from results.gate import judge
from results.record import Run, TrialRecord
from results.samples import of_run
from results.summary import pooled
from results.tables import comparison, efficiency, gate, ladder, loaders, runs, scaling, strategies, techniques
from tests.results import builders
from tests.results.builders import throttled, trial

LEGEND = "† a GPU was throttled by heat or its power supply during a trial."
MAKERS = {
    "ladder": ladder.ladder_table,
    "loaders": loaders.loaders_table,
    "strategies": strategies.strategies_table,
    "techniques": techniques.techniques_table,
    "efficiency": efficiency.efficiency_table,
    "summary": lambda found, protocol: runs.summary_tables(found, protocol)[0],
}


def run(*trials, name="cifar10/airnet", path="runs/0", **changes):
    given = {"recipe_name": name, "seeds": [one.seed for one in trials], "id": f"id{len(path)}{path[-1]}"}
    return Run(builders.record(**(given | changes)), trials, Path(path))


def with_reason(reason):
    gpu = {"samples": 4, "sampling_seconds": 0.01, "throttle_reasons": {reason: 0.25}}
    return trial(gpus=[{"samples": 4, "sampling_seconds": 0.01}, gpu])


@pytest.mark.parametrize(
    ("reason", "is_throttled"),
    [(reason, True) for reason in sorted(marks.THROTTLING)] + [("sw_power_cap", False), ("gpu_idle", False)],
)
def test_heat_and_a_failing_supply_of_any_gpu_mark_a_trial(reason, is_throttled):
    assert marks.is_throttled(with_reason(reason)) == is_throttled


def test_a_trial_on_a_cpu_has_no_mark():
    assert marks.counts([trial()]) == {}


@pytest.mark.parametrize(("seconds", "count"), [(None, 0), (0.0, 0), (3.5, 1)])
def test_a_suspension_marks_a_trial(seconds, count):
    assert marks.counts([trial(suspended_seconds=seconds)]) == ({"suspended": count} if count else {})


def test_what_a_gpu_did_is_written_and_read_back():
    written = throttled().model_dump_json()
    found = TrialRecord.model_validate_json(written)
    assert (found.gpus[0].sm_clock_mhz.min, found.gpus[0].throttle_reasons) == (900, {"hw_slowdown": 0.5})


@pytest.mark.parametrize("name", MAKERS)
def test_a_table_of_runs_marks_the_run_and_explains_the_mark(name):
    table = MAKERS[name]([run(trial(), name="mnist/base"), run(trial(), throttled(1), path="runs/1")], "strict")
    assert [row[0] for row in table.rows] == ["mnist/base", "cifar10/airnet †"]
    assert table.caption.endswith(LEGEND)
    assert "†" not in MAKERS[name]([run(trial(), name="mnist/base")], "strict").caption


def test_a_table_of_trials_marks_the_trial():
    table = runs.trials_table(run(trial(), throttled(1)), "strict")
    assert [row[0] for row in table.rows] == ["0", "1 †"]
    assert table.caption == LEGEND


def test_a_scaling_marks_the_number_of_processes():
    recipe = {"epochs": 3, "batch_size": 100}
    one = run(trial(), recipe=recipe)
    two = run(throttled(), recipe=recipe, world_size=2, path="runs/1")
    strong, *_ = scaling.scaling_tables([one, two], "strict")
    assert [row[0] for row in strong.rows] == ["1", "2 †"]
    assert strong.caption.endswith(LEGEND)


def test_a_comparison_says_how_many_trials_of_a_side_are_marked():
    table = comparison.of_pairs([(run(trial()), run(throttled(0), throttled(1), trial(2), path="runs/1"))], "strict")
    assert "(n = 1)" in table.rows[0][2]
    assert "(n = 3, 2 †)" in table.rows[0][3]
    assert LEGEND in table.caption


def test_the_gate_marks_a_side():
    sides = [[of_run(one, "strict")] for one in (run(trial()), run(throttled(), path="runs/1"))]
    table = gate.table(judge(*sides, {"time": 0.02}), "strict")
    assert ("†" in table.rows[0][2], "†" in table.rows[0][3]) == (False, True)
    assert table.caption.endswith(LEGEND)


def test_flat_rows_name_the_marks():
    assert [row["marks"] for row in tables([run(trial(), throttled(1))], "strict").trials] == ["", "throttled"]


def test_marked_trials_are_left_out_and_counted():
    kept = marks.discard(run(trial(), throttled(1), trial(2)), ["throttled"])
    assert [one.seed for one in kept.trials] == [0, 2]
    assert kept.missing_seeds == []
    assert kept.warnings == ("runs/0: 1 of 3 trials are left out: throttled",)


def test_without_a_marked_trial_or_a_chosen_mark_the_run_stays_as_it_is():
    clean, hot = run(trial()), run(throttled())
    assert marks.discard(clean, ["throttled"]) is clean
    assert marks.discard(hot, []) is hot


def test_a_run_without_a_trial_left_has_no_time():
    left = of_run(marks.discard(run(throttled()), ["throttled"]), "strict")
    assert pooled([left]).total_time.absent == "every trial is left out"
