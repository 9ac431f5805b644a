"""The table of hardware efficiency."""

from pathlib import Path

from results.record import Lap, Run
from results.tables.efficiency import efficiency_table
from tests.results.builders import record, trial

LAPS = [Lap(name="train", epoch=epoch, seconds=1.0) for epoch in (1, 2, 3)]


def row(machine, **environment):
    environment = {"machine_class": machine, "train_flops": 9e14} | environment
    run = Run(record(environment=environment, recipe={"precision": "half"}), (trial(laps=LAPS),), Path("runs"))
    table = efficiency_table([run], "strict")
    return dict(zip(table.headers, table.rows[0], strict=True))


def test_a_known_device_has_a_share_of_its_peak():
    found = row("NVIDIA H200", energy={"mean_w": 500.0, "joules_per_trial": 2000.0})
    assert (found["TFLOP/s"], found["of the peak"]) == ("300.0", "30.3%")
    assert (found["mean W"], found["J per trial"], found["J to target"]) == ("500.0", "2,000", "1,000")


def test_an_unknown_device_has_none():
    found = row("AMD EPYC, 2 cores")
    assert (found["TFLOP/s"], found["of the peak"], found["mean W"]) == ("300.0", "unknown", "–")
