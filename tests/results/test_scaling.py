from dataclasses import replace
from pathlib import Path

import pytest

from results.environment import Environment, Threads
from results.interconnect import Link
from results.record import Lap, Run
from results.scaling import Point, curves, efficiency
from results.sequential import nominal_levels
from results.statistics import ratio_of_times
from results.tables.scaling import PREDICTED, scaling_tables
from tests.results.builders import missed, record, trial

LINK = Link(latency=1e-4, seconds_per_byte=1e-9)
GRADIENT_BYTES = 4_000_000
STEPS = 10
NAME = "cifar10/airnet"


def of_world(
    size, step_seconds, batch_size=512, sync=True, make=trial, strategy="DDP", gradient_bytes=GRADIENT_BYTES, **changes
):
    """A run of three trials whose steps take so long, each a thousandth longer than the one before."""
    recipe = {"epochs": 1, "batch_size": batch_size, "parallel": {"sync_gradients": sync}}
    environment = {"machine_class": "a CPU", "device": "cpu", "gradient_bytes": gradient_bytes}
    environment |= {"threads": {"intra_op": 1, "inter_op": 1}, "strategy": strategy}
    if size > 1:
        environment["all_reduce"] = [[bytes_, LINK.all_reduce(size, bytes_)] for bytes_ in (1024, 2**22)]
    trials = [
        make(seed, laps=[Lap(name="train", epoch=1, seconds=STEPS * step_seconds * (1 + 1e-3 * seed))], steps=STEPS)
        for seed in range(3)
    ]
    return Run(
        record(world_size=size, recipe=recipe, environment=environment, **({"recipe_name": NAME} | changes)),
        tuple(trials),
        Path("runs"),
    )


RUNS = [
    of_world(1, 0.1),
    of_world(2, 0.0625),
    of_world(2, 0.05, sync=False),
    of_world(2, 0.125, batch_size=1024),
    of_world(4, 0.05),
    of_world(4, 0.16, batch_size=2048),
]


def tables(runs=RUNS):
    found = scaling_tables(runs, "strict")
    return {
        table.title.removeprefix(f"{NAME}: "): [dict(zip(table.headers, row, strict=True)) for row in table.rows]
        for table in found
    }


def test_strong_scaling_is_the_speed_up_over_the_processes():
    rows = tables()["strong scaling, 512 images per step"]
    assert [row["processes"] for row in rows] == ["1", "2", "4"]
    assert [row["images per process"] for row in rows] == ["512", "256", "128"]
    assert [row["speed-up"] for row in rows] == ["1.00", "1.60", "2.00"]
    assert [row["efficiency"].split()[0] for row in rows] == ["100%", "80%", "50%"]


def test_weak_scaling_is_the_step_time_at_the_same_batch_a_process():
    rows = tables()["weak scaling, 512 images per process and step"]
    assert [row["images per step"] for row in rows] == ["512", "1024", "2048"]
    assert [row["efficiency"].split()[0] for row in rows] == ["100%", "80%", "62%"]


def test_tokens_are_counted_as_tokens():
    tokens = {"name": "made-up-tokens", "tokens": {"sequences": 99, "length": 100, "vocabulary": 7}}

    def on_tokens(run):
        recipe = run.record.recipe | {"data": tokens}
        return replace(run, record=run.record.model_copy(update={"recipe": recipe}))

    rows = tables([on_tokens(run) for run in RUNS])["strong scaling, 512 sequences per step"]
    assert [row["sequences per process"] for row in rows] == ["512", "256", "128"]
    assert float(rows[0]["tokens/s"].replace(",", "")) == pytest.approx(512 * 100 / 0.1, rel=0.01)


def test_the_interval_of_an_efficiency_holds_it():
    (scaling,) = curves(RUNS)
    found = efficiency(scaling.base, scaling.strong[1], lambda point: point.step_seconds)
    assert found.value == pytest.approx(0.8, rel=1e-3)
    assert found.interval is None, "three trials a side have none"
    more = [Point(one.processes, one.batch_size, True, one.runs * 2) for one in scaling.strong]
    found = efficiency(more[0], more[1], lambda point: point.step_seconds)
    assert found.interval[0] <= found.value <= found.interval[1]
    assert found.speed_up == pytest.approx(2 * found.value)


def test_time_to_target_counts_what_reached_it_and_a_miss_has_none():
    rows = tables([RUNS[0], RUNS[1], of_world(2, 0.1, batch_size=1024, make=missed)])["time to target"]
    assert [(row["processes"], row["images per step"]) for row in rows] == [("1", "512"), ("2", "512"), ("2", "1024")]
    assert [row["reached"] for row in rows] == ["3 of 3", "3 of 3", "0 of 3"]
    assert [row["time to target s"] for row in rows] == ["–", "–", "–"], "the epoch that reached it has no lap"
    crossing = [
        run.__class__(run.record, tuple(trial(seed) for seed in range(3)), run.path) for run in (RUNS[0], RUNS[1])
    ]
    rows = tables(crossing)["time to target"]
    assert rows[0]["time to target s"] == rows[1]["time to target s"] == "33,030"
    assert rows[1]["efficiency"].startswith("50%"), "two processes that took as long as one"
    assert rows[0]["epochs to target"] == "2"


def test_the_all_reduce_is_what_a_step_is_longer_with_it_than_without():
    (row,) = tables()["gradient all-reduce"]
    assert row["processes"] == "2"
    assert row["gradients MB per step"] == "4.00"
    assert (row["ms per step"], row["without all-reduce"], row["its share"]) == ("62.56", "50.05", "20%")
    assert float(row["modelled ms"]) == pytest.approx(1000 * LINK.all_reduce(2, GRADIENT_BYTES), rel=1e-2)


def test_the_prediction_follows_the_fitted_link_and_says_that_it_is_one():
    title = "predicted weak scaling, not measured"
    rows = tables()[title]
    assert [int(row["processes"]) for row in rows] == list(PREDICTED)
    for row in rows:
        seconds = LINK.all_reduce(int(row["processes"]), GRADIENT_BYTES)
        assert float(row["all-reduce ms"]) == pytest.approx(1000 * seconds, rel=1e-2)
        assert float(row["efficiency if not"][:-1]) == pytest.approx(100 * 0.1 / (0.1 + seconds), abs=1)
    assert rows[0]["efficiency if overlapped"] == "100%"


def test_where_processes_share_a_network_its_gradients_are_no_all_reduce():
    (found,) = curves([of_world(1, 0.1), of_world(2, 0.06, strategy="pipeline GPipe (2 stages)", gradient_bytes=0)])
    assert found.gradient_bytes is None
    (found,) = curves([of_world(1, 0.1), of_world(2, 0.06)])
    assert found.gradient_bytes == GRADIENT_BYTES


def test_without_measured_all_reduces_nothing_is_predicted():
    bare = [
        Run(run.record.model_copy(update={"environment": Environment(machine_class="a CPU")}), run.trials, run.path)
        for run in RUNS
    ]
    found = tables(bare)
    assert "predicted weak scaling, not measured" not in found
    assert found["gradient all-reduce"][0]["modelled ms"] == "–"


def test_runs_of_one_point_are_pooled():
    twice = tables([*RUNS, of_world(2, 0.0625)])["time to target"]
    assert twice[1]["reached"] == "6 of 6"


def test_a_world_that_reduces_what_the_smallest_one_does_is_the_base_also_if_that_is_not_one():
    rows = tables([of_world(2, 0.06), of_world(4, 0.03)])["strong scaling, 512 images per step"]
    assert [row["efficiency"].split()[0] for row in rows] == ["100%", "100%"]


def test_runs_of_one_size_show_no_scaling():
    assert scaling_tables([RUNS[0], of_world(1, 0.2, batch_size=1024)], "strict") == []
    assert scaling_tables([RUNS[0], of_world(2, 0.05, recipe_name="cifar10/another")], "strict") == []


def test_a_run_without_a_finished_trial_is_left_out():
    empty = Run(RUNS[1].record, (), Path("runs"))
    assert curves([RUNS[0], empty]) == []


def test_smoke_tests_say_so_and_stand_back_behind_real_runs():
    samples = [of_world(1, 9.0, smoke_test=True), of_world(2, 9.0, smoke_test=True)]
    samples.append(of_world(2, 8.0, sync=False, smoke_test=True))
    titles = [table.title for table in scaling_tables(samples, "strict")]
    assert all("smoke test" in title for title in titles[:-1])
    rows = tables([*RUNS, *samples])["strong scaling, 512 images per step"]
    assert [row["speed-up"] for row in rows] == ["1.00", "1.60", "2.00"]


def test_an_unknown_protocol_is_refused():
    with pytest.raises(ValueError, match="unknown"):
        scaling_tables(RUNS, "none")


def test_runs_that_differ_in_more_than_the_batch_are_no_points_of_one_curve():
    other = of_world(2, 0.06, recipe_name=NAME)
    threads = other.record.environment.model_copy(update={"threads": Threads(intra_op=2, inter_op=1)})
    for changes in ({"recipe": other.record.recipe | {"epochs": 2}}, {"environment": threads}):
        assert curves([RUNS[0], Run(other.record.model_copy(update=changes), other.trials, other.path)]) == []


def test_each_strategy_has_curves_of_its_own_from_one_process_on():
    runs = [RUNS[0], *(of_world(2, 0.06, strategy=name) for name in ("DDP", "FSDP2"))]
    assert [(one.strategy, [point.processes for point in one.strong]) for one in curves(runs)] == [
        ("DDP", [1, 2]),
        ("FSDP2", [1, 2]),
    ]


def of_strategy(processes, name, **parallel):
    """A run that differs in the options of several processes alone."""
    run = of_world(processes, 0.1 / processes, strategy=name)
    recipe = run.record.recipe | {"parallel": run.record.recipe["parallel"] | parallel}
    return replace(run, record=run.record.model_copy(update={"recipe": recipe}))


def test_a_strategy_named_by_its_size_has_one_curve():
    pipelines = [of_strategy(size, f"pipeline 1F1B ({size} stages)", strategy="pipeline") for size in (2, 4)]
    mesh = of_strategy(4, "pipeline 1F1B (2 stages, 2 data-parallel)", strategy="pipeline", size=2)
    assert [(one.strategy, [point.processes for point in one.strong]) for one in curves([*pipelines, mesh])] == [
        ("pipeline 1F1B (2 stages), pipeline 1F1B (4 stages)", [2, 4]),
    ]
    assert [[len(point.runs) for point in one.strong] for one in curves([RUNS[0], *pipelines, mesh])] == [
        [1, 1, 1],
        [1, 1],
    ]


def test_ways_to_send_the_gradients_are_no_repetitions_of_one_another():
    ways = [of_strategy(2, "DDP", compression=name) for name in ("none", "fp16")]
    assert [(one.strategy, [len(point.runs) for point in one.strong]) for one in curves([RUNS[0], *ways])] == [
        ("DDP", [1, 1]),
        ("DDP, fp16", [1, 1]),
    ]


def test_a_single_run_at_another_batch_is_not_the_base():
    alone = of_world(1, 0.01, batch_size=32)
    assert [one.base.batch_size for one in curves([alone, *RUNS])] == [512]


def test_the_interval_of_an_efficiency_is_at_the_level_of_a_run_that_looks_ended():
    looks = (3, 4)
    planned = [of_world(size, seconds, plan={"looks": looks}) for size, seconds in ((1, 0.1), (2, 0.0625))]
    points = [Point(run.record.world_size, 512, True, (run,) * 8) for run in (*planned, *RUNS[:2])]
    intervals = [efficiency(*pair, lambda point: point.step_seconds).interval for pair in (points[:2], points[2:])]
    before, after = (point.step_seconds for point in points[:2])
    ratio = ratio_of_times(before, after, level=nominal_levels(looks)[0])
    assert intervals[0] == (0.5 / ratio.interval[1], 0.5 / ratio.interval[0])
    assert intervals[0][0] < intervals[1][0]
