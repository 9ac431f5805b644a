from pathlib import Path

from results.engines_table import engines_table, is_of_engines
from results.overview import overview
from results.record import Lap, Run
from tests.results.builders import record, trial


def of_engine(name, strategy, seconds=1.0, world_size=2, **memory):
    laps = (Lap(name="train", epoch=1, seconds=seconds),)
    made = record(recipe_name=f"mnist/engines/{name}", environment={"strategy": strategy}, world_size=world_size)
    return Run(made, (trial(0, laps=laps, steps=100, **memory),), Path("runs"))


def rows(*runs):
    table = engines_table(runs)
    return [dict(zip(table.headers, row, strict=True)) for row in table.rows]


def test_a_step_is_compared_with_ddp_s():
    fsdp2, ddp = rows(of_engine("fsdp2", "FSDP2", 1.2), of_engine("ddp", "DDP", 0.4))
    assert (fsdp2["ms a step"], fsdp2["times DDP"], ddp["times DDP"]) == ("12.00", "3.00", "1.00")
    assert (fsdp2["strategy"], fsdp2["processes"]) == ("FSDP2", "2")
    (alone,) = rows(of_engine("fsdp2", "FSDP2"))
    assert alone["times DDP"] == "–"


def test_memory_is_the_device_s_if_it_was_measured():
    host = of_engine("ddp", "DDP", peak_host_bytes=3 * 2**20, peak_device_bytes=None)
    device = of_engine("ddp", "DDP", peak_host_bytes=3 * 2**20, peak_device_bytes=2**20)
    assert [row["MiB a process"] for row in rows(host, device)] == ["3", "1"]


def test_runs_that_shared_their_training_in_several_ways_are_summed_up_by_this_table():
    ddp, fsdp2 = of_engine("ddp", "DDP"), of_engine("fsdp2", "FSDP2")
    assert is_of_engines([ddp, fsdp2])
    assert [table.title for table in overview([ddp, fsdp2], "record")] == ["engines"]
    assert not is_of_engines([ddp, ddp])
    assert not is_of_engines([ddp, of_engine("base", "none", world_size=1)])
