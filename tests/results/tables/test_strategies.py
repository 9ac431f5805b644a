"""Strategies: what a step and a process cost in each."""

from pathlib import Path

from results.record import Lap, Run
from results.tables.strategies import scaling_by_strategy, strategies_table
from tests.results.builders import record, trial


def of_strategy(name, strategy, seconds=1.0, world_size=2, communication=None, **memory):
    """seconds: of 100 steps, a quarter of them for augmentation."""
    laps = tuple(Lap(name=lap, epoch=1, seconds=share * seconds) for lap, share in (("augment", 0.25), ("train", 0.75)))
    environment = {"strategy": strategy} | ({"communication": communication} if communication else {})
    made = record(recipe_name=f"mnist/strategies/{name}", environment=environment, world_size=world_size)
    return Run(made, (trial(0, laps=laps, steps=100, **memory),), Path("runs"))


def rows(*runs):
    table = strategies_table(runs, "strict")
    return [dict(zip(table.headers, row, strict=True)) for row in table.rows]


def test_a_step_is_compared_with_ddp_s():
    fsdp2, ddp = rows(of_strategy("fsdp2", "FSDP2", 1.2), of_strategy("ddp", "DDP", 0.4))
    assert (fsdp2["ms per step"], fsdp2["times DDP"], ddp["times DDP"]) == ("12.00", "3.00", "1.00")
    assert (fsdp2["strategy"], fsdp2["processes"]) == ("FSDP2", "2")
    (alone,) = rows(of_strategy("fsdp2", "FSDP2"))
    assert alone["times DDP"] == "–"


def test_a_step_is_compared_with_ddp_under_the_same_conditions_alone():
    runs = [of_strategy(name, name, seconds) for name, seconds in (("DDP", 0.4), ("FSDP2", 1.2))]
    more_processes = [of_strategy(name, name, seconds, 4) for name, seconds in (("FSDP2", 0.3), ("DDP", 0.1))]
    recipe = {"epochs": 3, "model": {"name": "alexnet"}}
    network = of_strategy("alexnet", "columns", 9.0)
    network = Run(network.record.model_copy(update={"recipe": recipe}), network.trials, network.path)
    assert [row["times DDP"] for row in rows(*runs, *more_processes, network)] == ["1.00", "3.00", "3.00", "1.00", "–"]


def test_memory_is_the_device_s_if_it_was_measured():
    host = of_strategy("ddp", "DDP", peak_host_bytes=3 * 2**20, peak_device_bytes=None)
    device = of_strategy("ddp", "DDP", peak_host_bytes=3 * 2**20, peak_device_bytes=2**20)
    assert [row["MiB per process"] for row in rows(host, device)] == ["3.000", "1.000"]


def test_bytes_are_a_column_where_a_run_has_counted_them():
    counting = of_strategy("ddp", "DDP", communication={"bytes_per_step": 2.5e6, "formula_bytes": 2e6})
    without_formula = of_strategy("power", "DDP", communication={"bytes_per_step": 1e6, "formula_bytes": None})
    plain = of_strategy("fsdp2", "FSDP2")
    found = [(row["MB sent per step"], row["by formula"]) for row in rows(counting, without_formula, plain)]
    assert found == [("2.50", "2.00"), ("1.00", "–"), ("–", "–")]
    assert "MB sent per step" not in rows(plain)[0]


def test_strategies_are_set_beside_the_fewest_processes():
    def of(name, seconds, size, **parallel):
        run = of_strategy("ddp", name, seconds, size)
        recipe = {"epochs": 3, "batch_size": 100, "parallel": parallel}
        return Run(run.record.model_copy(update={"recipe": recipe}), run.trials, Path("runs"))

    runs = [of("none", 1.0, 1), of("DDP", 0.625, 2, compression="fp16"), of("FSDP2", 1.0, 2, compression="none")]
    table = scaling_by_strategy(runs, "strict")
    found = [dict(zip(table.headers, row, strict=True)) for row in table.rows]
    assert [row["strategy"] for row in found] == ["none", "DDP, fp16", "FSDP2"]
    assert [row["efficiency"] for row in found] == ["100%", "80%", "50%"]
    assert found[0]["ms per step"] == "10.00"
    assert "outcome" not in found[0]
    assert "bubble" not in found[0]


def test_a_disturbed_trial_marks_its_row():
    runs = [of_strategy("ddp", name, foreign_load=load) for name, load in (("DDP", 0.5), ("FSDP2", 0.0))]
    with_batch = {"epochs": 3, "batch_size": 100}
    runs = [Run(one.record.model_copy(update={"recipe": with_batch}), one.trials, one.path) for one in runs]
    table = scaling_by_strategy(runs, "strict")
    assert [row[0] for row in table.rows] == ["DDP ‡", "FSDP2"]
    assert "‡ other processes" in table.caption


def test_a_pipeline_has_its_bubble_beside_the_theory_and_no_memory_is_an_outcome():
    run = of_strategy("ddp", "pipeline 1F1B (2 stages)")
    notes = {"pipeline": {"bubble": 0.35, "bubble_in_theory": 0.2}}
    recipe = {"epochs": 3, "batch_size": 100}
    one = Run(
        run.record.model_copy(update={"recipe": recipe}),
        (trial(0, notes=notes, laps=run.trials[0].laps),),
        Path("runs"),
    )
    failed = of_strategy("ddp", "DDP").record.model_copy(
        update={"status": "failed", "reason": "rank 0: OutOfMemory: tried to allocate 1 MB", "recipe": recipe}
    )
    crashed = failed.model_copy(update={"reason": "rank 0: RuntimeError: no"})
    table = scaling_by_strategy([one, Run(failed, (), Path("runs")), Run(crashed, (), Path("runs"))], "strict")
    first, second = [dict(zip(table.headers, row, strict=True)) for row in table.rows]
    assert (first["bubble"], first["in theory"]) == ("35%", "20%")
    assert (first["outcome"], second["outcome"]) == ("–", "out of memory")
    assert second["ms per step"] == "–"


def test_the_runs_of_single_seeds_are_one_row_a_strategy():
    """As `bench/scale.py --by-seed` leaves them: all sizes with a seed, then all with the next."""

    def of(seed, name, seconds, size, **changes):
        recipe = {"epochs": 3, "batch_size": 100, "parallel": changes}
        made = record(
            id=f"{name[:4]}{seed}{size}", recipe=recipe, world_size=size, environment={"strategy": name}, seeds=[seed]
        )
        laps = (Lap(name="train", epoch=1, seconds=seconds),)
        return Run(made, (trial(seed, index=0, laps=laps, steps=100, accuracy=0.94 + seed / 100),), Path("runs"))

    runs = [
        run
        for seed, seconds in enumerate((1.0, 3.0, 2.0))
        for run in (of(seed, "none", seconds, 1), of(seed, "DDP", seconds / 2, 2), of(seed, "DDP", seconds / 4, 4))
    ]
    table = scaling_by_strategy(runs, "strict")
    found = [dict(zip(table.headers, row, strict=True)) for row in table.rows]
    assert [(row["strategy"], row["processes"], row["ms per step"]) for row in found] == [
        ("none", "1", "20.00"),
        ("DDP", "2", "10.00"),
        ("DDP", "4", "5.000"),
    ]
    assert {row["efficiency"] for row in found} == {"100%"}
    assert found[0]["accuracy %"].startswith("95.00 ± ")
