from pathlib import Path

import pytest

from results.loaders_table import is_of_loaders, loaders_table
from results.overview import overview
from results.record import Lap, Run
from tests.results.builders import missed, record, trial

COSTS = {"images": 1000, "seconds": 0.5, "waited_seconds": 2.0, "cpu_seconds": 12.0}
LAPS = (Lap(name="augment", epoch=1, seconds=1.0), Lap(name="train", epoch=1, seconds=9.0))


def of_loader(name, trials, **changes):
    return Run(record(recipe_name=f"cifar10/loaders/{name}", **changes), tuple(trials), Path("runs"))


def fed(seed=0, make=trial, **costs):
    return make(seed, laps=LAPS, samples=5000, notes={"loader_costs": COSTS | costs})


def rows(*runs):
    table = loaders_table(runs, "record")
    return [dict(zip(table.headers, row, strict=True)) for row in table.rows]


def test_a_row_says_how_fast_and_who_holds_up_whom():
    (row,) = rows(of_loader("bulk", [fed()]))
    assert row["recipe"] == "cifar10/loaders/bulk"
    assert row["images/s alone"] == "2,000"
    assert row["images/s in training"] == "500"
    assert row["waits for images"] == "30%"
    assert row["bottleneck"] == "compute"
    assert row["CPU s"] == "12"
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
    assert row["images/s in training"] == "500"


@pytest.mark.parametrize("trick", [None, "a trick"])
def test_real_runs_that_noted_their_loaders_are_summed_up_by_this_table(trick):
    recipe = {"epochs": 1, "trick": trick}
    runs = [of_loader(name, [fed()], recipe=recipe) for name in ("bulk", "resident")]
    assert is_of_loaders(runs)
    (table,) = overview(runs, "record")
    assert table.title == "loaders"
    assert len(table.rows) == 2


def test_other_runs_are_not():
    runs = [of_loader("bulk", [fed()]), of_loader("dali", [trial(laps=LAPS)])]
    assert not is_of_loaders(runs)
    assert not is_of_loaders(runs[:1])
    assert not is_of_loaders([of_loader(name, [fed()], sample=True) for name in ("bulk", "dali")])


def test_an_unknown_protocol_is_refused():
    with pytest.raises(ValueError, match="unknown"):
        loaders_table([of_loader("bulk", [fed()])], "none")
