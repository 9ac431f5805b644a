"""The store and the comparison: what a record costs, and what it costs to read and compare those that are committed."""

import itertools
from dataclasses import replace
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from results import samples, store
from results.compare import compare
from results.record import Run

MEASURED = samples.MEASURED


@pytest.fixture(scope="module")
def runs() -> list[Run]:
    return store.find([MEASURED])


def test_append_a_trial(benchmark: BenchmarkFixture, runs: list[Run], tmp_path: Path) -> None:
    """A line that is on the disk when it is done."""
    record = runs[0].record.model_copy(update={"status": "running", "seeds": list(range(100))})
    directory, trial, numbers = store.create(tmp_path, record), runs[0].trials[0], itertools.count()

    def setup() -> tuple[tuple, dict]:
        number = next(numbers)
        return (trial.model_copy(update={"index": number, "seed": number}),), {}

    benchmark.pedantic(directory.append, setup=setup, rounds=50, warmup_rounds=2)


def test_read_all(benchmark: BenchmarkFixture, runs: list[Run]) -> None:
    benchmark.pedantic(store.find, args=([MEASURED],), rounds=5, warmup_rounds=1)
    benchmark.extra_info["runs"] = len(runs)


def test_compare(benchmark: BenchmarkFixture, runs: list[Run]) -> None:
    """All runs with copies of themselves, by every metric."""
    before = [samples.of_run(run, "strict") for run in runs]
    after = [replace(one, origin="copy") for one in before]
    benchmark.pedantic(compare, args=(before, after), rounds=5, warmup_rounds=1)
    benchmark.extra_info["runs"] = len(runs)
