"""Loaders: how fast they are, and whether training waits for them."""

from pathlib import Path

import pytest

from results.record import Lap, Run
from results.tables.loaders import loaders_table
from tests.results.builders import missed, record, trial

COSTS = {"images": 1000, "seconds": 0.5, "waited_seconds": 2.0, "cpu_seconds": 12.0}
LAPS = (Lap(name="augment", epoch=1, seconds=1.0), Lap(name="train", epoch=1, seconds=9.0))


def of_loader(name, trials, **changes):
    return Run(record(recipe_name=f"cifar10/loaders/{name}", **changes), tuple(trials), Path("runs"))


def fed(seed=0, make=trial, **costs):
    return make(seed, laps=LAPS, samples=5000, notes={"loader_costs": COSTS | costs})


def rows(*runs):
    table = loaders_table(runs, "strict")
    return [dict(zip(table.headers, row, strict=True)) for row in table.rows]


def test_a_row_says_how_fast_and_what_waits_for_what():
    (row,) = rows(of_loader("bulk", [fed()]))
    assert row["recipe"] == "cifar10/loaders/bulk"
    assert row["images/s alone"] == "2,000"
    assert row["images/s in training"] == "500.0"
    assert row["waits for images"] == "30%"
    assert row["bottleneck"] == "compute"
    assert row["CPU s"] == "12.00"
    assert row["reached"] == "1 of 1"


def test_training_that_waits_for_more_than_half_of_the_time_waits_for_data():
    (row,) = rows(of_loader("torchvision", [fed(waited_seconds=4.1)]))
    assert (row["waits for images"], row["bottleneck"]) == ("51%", "data")


def test_medians_are_over_the_trials_and_a_miss_has_no_time():
    (row,) = rows(of_loader("bulk", [fed(seed, seconds=seconds) for seed, seconds in enumerate((0.5, 1.0, 4.0))]))
    assert row["images/s alone"] == "1,000"
    (row,) = rows(of_loader("bulk", [fed(make=missed)]))
    assert (row["time to target s"], row["reached"]) == ("–", "0 of 1")


def test_a_trial_without_notes_leaves_them_out():
    (row,) = rows(of_loader("bulk", [trial(laps=LAPS, samples=5000)]))
    assert (row["images/s alone"], row["CPU s"], row["bottleneck"]) == ("–", "–", "–")
    assert row["images/s in training"] == "500.0"


def test_an_unknown_protocol_is_refused():
    with pytest.raises(ValueError, match="unknown"):
        loaders_table([of_loader("bulk", [fed()])], "none")
