"""What the clock costs a function of the user's own: the same training with a run, and called bare."""

import statistics
import time
from functools import partial
from pathlib import Path

import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import nn

from pipelines.distributed.process_group import World
from pipelines.recipe.scripts import Function
from pipelines.scripts.function import FunctionTrainer

ROUNDS = 20
EPOCHS = 5
STEPS = 200
"""of an epoch; each takes about half a millisecond on a core"""
TRAIN = """
from bench.micro.test_own_training import train
"""


def train(run: object, epochs: int = EPOCHS) -> float:
    """A small network; `run` is a `pipelines.scripts.run.Run`, or None in a bare call."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    images, labels = torch.randn(64, 256), torch.randint(10, (64,))

    def epoch_of_steps() -> None:
        for _ in range(STEPS):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(images), labels).backward()
            optimizer.step()

    if run is None:
        for _ in range(epochs):
            epoch_of_steps()
    else:
        for epoch in run.epochs(epochs):
            with run.lap("train", epoch):
                epoch_of_steps()
            run.evaluated(epoch, accuracy=0.5)
    return 0.5


def test_run_against_bare_call(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """Ratios of neighbours, interleaved in alternating order; their medians are in the extra columns, with quartiles.

    `run_over_bare` is from the call to its return: laps, reports and the settings of torch. `trial_over_bare` has also
    what is done once a trial before and after it. `bare_over_bare` is what two equal calls differ by.
    """
    path = tmp_path / "mine.py"
    path.write_text(TRAIN)
    trainer = FunctionTrainer(Function(entry=f"{path}:train", target=0.5), World())
    seconds: dict[str, list[float]] = {"trial": [], "run": [], "bare": [], "again": []}

    def time_trial() -> None:
        started = time.perf_counter()
        trial = trainer.run_trial(0)
        seconds["trial"].append(time.perf_counter() - started)
        seconds["run"].append(float(str(trial.notes["seconds"])))

    def time_bare(name: str) -> None:
        started = time.perf_counter()
        train(None)
        seconds[name].append(time.perf_counter() - started)

    calls = [time_trial, partial(time_bare, "bare"), partial(time_bare, "again")]

    def all_once() -> None:
        for call in calls:
            call()
        calls.reverse()

    benchmark.pedantic(all_once, rounds=ROUNDS, warmup_rounds=1)
    for name, beside in (("run", "bare"), ("trial", "bare"), ("again", "bare")):
        pairs = zip(seconds[name][1:], seconds[beside][1:], strict=True)
        ratios = sorted(measured / bare for measured, bare in pairs)
        label = f"{name.replace('again', 'bare')}_over_bare"
        benchmark.extra_info[label] = statistics.median(ratios)
        benchmark.extra_info[f"{label}_quartiles"] = statistics.quantiles(ratios, n=4)[::2]
