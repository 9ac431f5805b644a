"""Records for tests: a small run with planted numbers, any part of which can be replaced."""

import itertools
import json
from datetime import UTC, datetime
from pathlib import Path

from results.compare import Comparison, compare
from results.facts import FACTS
from results.record import EpochResult, Lap, RunRecord, TrialRecord
from results.samples import Samples

NUMBERS = itertools.count()
CREATED = datetime(2026, 11, 21, 10, 57, 31, tzinfo=UTC)
STEADY = [1.0, 1.001, 0.999, 1.002, 0.998, 1.0005, 0.9995, 1.0015]
"""seconds of trials that hardly differ"""


def laps(epochs: int = 3, **seconds: float) -> tuple[Lap, ...]:
    """One lap of each kind; those of an epoch last 10, 100 … times as long, so that every sum of laps is different."""
    once = {"load": 1, "transfer": 2, "preprocess": 4, "build": 8, "whiten": 16, "compile": 32, "final_evaluate": 64}
    each = {"augment": 1000, "train": 2000, "evaluate": 4000}
    whole = [Lap(name=name, seconds=number) for name, number in (once | seconds).items()]
    return (
        *whole,
        *(
            Lap(name=name, epoch=epoch, seconds=number * 10 ** (epoch - 1))
            for epoch in range(1, epochs + 1)
            for name, number in each.items()
        ),
    )


def trial(seed: int = 0, **changes) -> TrialRecord:
    """A trial that reaches 94% in epoch 2 of 3 and ends at 95%."""
    epochs = tuple(
        EpochResult(epoch=epoch, train_loss=1 / epoch, accuracy=accuracy, accuracy_plain=accuracy - 0.01)
        for epoch, accuracy in enumerate((0.5, 0.94, 0.95), start=1)
    )
    given = {
        "index": seed % 2**63,
        "seed": seed,
        "outcome": "reached",
        "accuracy": 0.95,
        "accuracy_plain": 0.94,
        "target": 0.94,
        "epochs": epochs,
        "laps": laps(),
        "steps": 30,
        "samples": 300,
    }
    return TrialRecord.model_validate(given | changes)


def throttled(seed: int = 0, **changes) -> TrialRecord:
    """A trial whose GPU was too hot in half of the samples."""
    clocks = {"min": 900, "median": 1755, "max": 1980}
    gpu = {"samples": 2, "sampling_seconds": 1e-3, "sm_clock_mhz": clocks, "throttle_reasons": {"hw_slowdown": 0.5}}
    return trial(seed, **({"gpus": [gpu]} | changes))


def missed(seed: int = 0, **changes) -> TrialRecord:
    return trial(seed, **({"outcome": "missed", "accuracy": 0.9, "epochs": ()} | changes))


def record(**changes) -> RunRecord:
    given = {
        "id": "abcd1234",
        "recipe_name": "cifar10/airnet",
        "recipe": {"epochs": 3, "optimizer": {"lr": 0.1}},
        "recipe_hash": "0123456789ab",
        "smoke_test": False,
        "created": CREATED,
        "command": ["bench/run.py", "cifar10/airnet"],
        "commit": "f" * 40,
        "dirty": False,
        "environment": {"machine_id": "m", "machine_class": "NVIDIA H200", "versions": {"torch": "2.13.0"}},
        "world_size": 1,
        "seeds": [0, 1, 2],
    }
    return RunRecord.model_validate(given | changes)


def samples(seconds, accuracy=None, to_target=None, **changes) -> Samples:
    """One run's samples with these total times, at 95% of a target of 94%, all equal in `FACTS`."""
    n = len(seconds)
    given = {
        "recipe": "cifar10/airnet",
        "origin": f"runs/{next(NUMBERS)}",
        "facts": dict.fromkeys(FACTS, "as ever"),
        "notes": {"commit": "f" * 12},
        "options": {"epochs": 3},
        "target": 0.94,
        "seeds": tuple(range(n)),
        "values": {
            "time": tuple(seconds),
            "time-to-target": tuple(seconds if to_target is None else to_target),
            "accuracy": tuple(0.95 + 1e-4 * (index % 2) for index in range(n)) if accuracy is None else accuracy,
        },
        "reached": n,
    }
    return Samples(**(given | changes))


def benchmark_file(path: Path, changes: dict | None = None, **medians: float) -> Path:
    """A file of benchmarks with these medians as pytest-benchmark writes it, as far as it is read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "machine_info": {"python_version": "3.12.1", "cpu": {"brand_raw": "A CPU", "count": 2}},
        "commit_info": {"id": "c" * 40, "dirty": True},
        "benchmarks": [
            {"fullname": f"test_kernels.py::test_{name}", "stats": {"median": median, "rounds": 7}, "extra_info": {}}
            for name, median in medians.items()
        ],
    }
    path.write_text(json.dumps(content | (changes or {})))
    return path


def times_of(factor: float) -> list[float]:
    """So many times as long as `STEADY`."""
    return [factor * second for second in STEADY]


def row(before: Samples, after: Samples, metric: str = "time", **given: object) -> Comparison:
    """The comparison of one metric."""
    found = compare([before], [after], **given)
    return next(one for one in found if one.metric.name == metric)
