"""Each metric from planted trials."""

from pathlib import Path

import pytest

from results.metrics import METRICS, find_metric
from results.record import Lap, Run
from tests.results.builders import missed, record, trial

LAPS = [
    Lap(name="compile", seconds=7.0),
    Lap(name="augment", epoch=1, seconds=1.0),
    Lap(name="train", epoch=1, seconds=5.0),
    Lap(name="evaluate", epoch=1, seconds=100.0),
    Lap(name="final_evaluate", seconds=2.0),
]
EPOCH = {"epochs": [{"epoch": 1, "accuracy": 0.95}]}


def values(name, *trials, protocol="strict", **environment):
    changes = {"recipe": {"epochs": 1.0}, "environment": {"machine_class": "a CPU"} | environment}
    return list(METRICS[name].samples(Run(record(**changes), trials, Path("runs")), protocol))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("time", 8.0),
        ("time-to-target", 6.0),
        ("accuracy", 0.95),
        ("compile-time", 7.0),
        ("epoch-time", 6.0),
        ("images-per-second", 50.0),
        ("peak-memory", 3.0),
        ("step-time", 200.0),
    ],
)
def test_what_a_trial_gives(name, expected):
    one = trial(laps=LAPS, samples=300, peak_host_bytes=3 * 2**20, **EPOCH)
    assert values(name, one) == [expected]


def test_memory_is_the_gpus_where_there_is_one():
    assert values("peak-memory", trial(peak_host_bytes=2**30, peak_device_bytes=2**20), trial(1)) == [1.0, None]


def test_compilation_is_of_the_first_trial_of_a_process():
    assert values("compile-time", trial(laps=LAPS), trial(1, laps=LAPS[1:])) == [7.0, None]


def test_energy_is_one_sample_a_run_where_it_was_measured():
    counted = {"mean_w": 100.0, "joules_per_trial": 42.0}
    assert values("energy", trial(), trial(1), energy=counted) == [42.0, None]
    assert values("energy", trial(), energy={"unknown": "no counter"}) == values("energy", trial()) == [None]


@pytest.mark.parametrize("name", ["time", "time-to-target", "epoch-time"])
def test_a_trial_that_diverged_has_no_time(name):
    assert values(name, trial(outcome="diverged", reason="loss", laps=LAPS)) == [None]


@pytest.mark.parametrize("name", ["time", "time-to-target", "compile-time", "epoch-time", "step-time", "peak-memory"])
def test_a_number_that_no_ratio_can_have_is_none(name):
    stopped_clock = [Lap(name=lap.name, epoch=lap.epoch, seconds=0) for lap in LAPS]
    assert values(name, trial(laps=stopped_clock, peak_host_bytes=0, **EPOCH)) == [None]


def test_a_miss_has_a_total_time_and_no_time_to_target():
    one = missed(laps=LAPS, **{"epochs": [{"epoch": 1, "accuracy": 0.9}]})
    assert values("time", one) == [8.0]
    assert values("time-to-target", one) == [None]


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [("time", 1.23456, "1.235 s"), ("accuracy", 0.94011, "94.01%"), ("peak-memory", 2048.0, "2,048 MiB")],
)
def test_values_are_written_with_their_unit(name, value, text):
    assert METRICS[name].text(value) == text
    assert METRICS[name].text(None) == "–"


def test_an_unknown_metric_is_refused():
    with pytest.raises(ValueError, match="metric='speed' is unknown: use one of time, "):
        find_metric("speed")


@pytest.mark.parametrize(("epochs", "expected"), [(1.0, None), (5.0, None), (8.0, 2.0)])
def test_an_epoch_is_the_mean_over_all_image_sizes_of_the_recipe(epochs, expected):
    """Five epochs of 1 s at 28 pixels, then three of 11/3 s at 32: 16 s in 8 epochs."""
    seconds = [1.0] * 5 + [11 / 3] * 3
    laps = [Lap(name="train", epoch=epoch, seconds=second) for epoch, second in enumerate(seconds, start=1)]
    recipe = {"epochs": epochs, "augment": {"resolution": {"epochs": [0, 5], "sizes": [28, 32]}}}
    run = Run(record(recipe=recipe), (trial(laps=laps[: int(epochs)]),), Path("runs"))
    assert METRICS["epoch-time"].samples(run, "strict") == [expected and pytest.approx(expected)]


@pytest.mark.parametrize(("name", "expected"), [("epoch-time", 2000.0), ("step-time", 200_000.0)])
def test_a_trial_that_early_stopping_ended_has_the_epochs_that_it_trained(name, expected):
    """Three of ten epochs, of ten steps and 2,000 s each."""
    laps = [Lap(name="train", epoch=epoch, seconds=2000.0) for epoch in (1, 2, 3)]
    run = Run(record(recipe={"epochs": 10.0}), (trial(laps=laps, steps=30),), Path("runs"))
    assert METRICS[name].samples(run, "strict") == [expected]
