"""Signs in the times of a run's trials that its machine was not the same for all of them."""

import random
from pathlib import Path

import pytest

from results.record import Lap, Run
from results.stability import drift, drift_warning, spread_warning, stability_warnings
from results.store import find
from tests.results import builders
from tests.results.builders import trial
from tests.test_architecture import REPOSITORY

RISING = [1.9 ** (number / 9) for number in range(10)]


def run(seconds, changes=lambda seed: {}):
    laps = [[Lap(name="train", epoch=1, seconds=one)] for one in seconds]
    trials = tuple(trial(seed, laps=each, **changes(seed)) for seed, each in enumerate(laps))
    return Run(builders.record(), trials, Path("run"))


@pytest.mark.parametrize(
    ("seconds", "recipe", "warm_up", "cause"),
    [
        ([30, 1, 1], {"clock": "author"}, [], "had no warm-up: add a function warm_up to the file"),
        ([30, 1, 1], {"clock": "author"}, [Lap(name="compile", seconds=1)], "the machine changed between trials"),
        ([1, 30, 1], {"clock": "author"}, [], "the machine changed between trials"),
        ([30, 1, 1], {}, [], "the machine changed between trials"),
        ([3, 1, 1], {"clock": "author"}, [], ""),
    ],
)
def test_times_that_differ_tenfold_are_a_warning_with_its_cause(seconds, recipe, warm_up, cause):
    laps = [[Lap(name="train", epoch=1, seconds=one)] for one in seconds]
    laps[0] += warm_up
    trials = tuple(trial(seed, laps=each) for seed, each in enumerate(laps))
    warning = spread_warning(Run(builders.record(recipe=recipe), trials, Path("run")))
    assert cause in warning
    assert bool(warning) == bool(cause)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (RISING, "90% slower from the first to the last (p = 5.5e-07)"),
        (RISING[::-1], "47% faster from the first to the last (p = 5.5e-07)"),
        (RISING[:7], ""),
        ([1 + number / 1000 for number in range(10)], ""),
        ([1.0] * 10, ""),
        ([1.0, 2.0] * 5, ""),
    ],
)
def test_a_trend_is_told_if_it_is_no_chance_and_not_small(seconds, text):
    assert drift(seconds) == text


def test_few_runs_without_a_trend_are_said_to_have_one():
    draw = random.Random(0)
    found = sum(bool(drift([draw.lognormvariate(0, 0.3) for _ in range(20)])) for _ in range(2000))
    assert found <= 6


def test_a_run_whose_trials_became_slower_is_told():
    (warning,) = stability_warnings(run(RISING))
    assert warning.startswith("cifar10/airnet: trials became 90% slower")


def test_trials_that_end_early_are_no_trend():
    assert drift_warning(run([float(steps) for steps in range(1, 11)], lambda seed: {"steps": seed + 1})) == ""


def test_trials_on_several_hosts_are_no_trend():
    hosts = [{"host": {"hash": letter * 16}} for letter in "ab"]
    assert drift_warning(run(RISING, lambda seed: hosts[seed % 2])) == ""


def test_the_trials_on_the_gpu_became_slower():
    """As its page says."""
    (found,) = find([REPOSITORY / "results/measured/gpu/*_cifar10-airbench94-muon_*"])
    assert "% slower" in drift_warning(found)
