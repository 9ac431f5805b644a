"""What the clock costs a function of the user's own: the same training with a run, and called bare."""

import statistics
import time
from pathlib import Path

import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import nn

from pipelines.distributed.process_group import World
from pipelines.recipe.scripts import Function
from pipelines.scripts.function import FunctionTrainer

ROUNDS = 9
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
    """Interleaved; `run_over_bare` is the median of the ratios of neighbours, from the call to its return: laps,
    reports and the settings of torch included, and what is done once a trial before and after it left out, which
    `trial_over_bare` includes."""
    path = tmp_path / "mine.py"
    path.write_text(TRAIN)
    trainer = FunctionTrainer(Function(entry=f"{path}:train", target=0.5), World())
    seconds: dict[str, list[float]] = {"trial": [], "run": [], "bare": []}

    def both() -> None:
        started = time.perf_counter()
        trial = trainer.run_trial(0)
        seconds["trial"].append(time.perf_counter() - started)
        seconds["run"].append(float(str(trial.notes["seconds"])))
        started = time.perf_counter()
        train(None)
        seconds["bare"].append(time.perf_counter() - started)

    benchmark.pedantic(both, rounds=ROUNDS, warmup_rounds=1)
    for name in ("run", "trial"):
        pairs = zip(seconds[name][1:], seconds["bare"][1:], strict=True)
        ratios = sorted(measured / bare for measured, bare in pairs)
        benchmark.extra_info[f"{name}_over_bare"] = statistics.median(ratios)
        benchmark.extra_info[f"{name}_over_bare_quartiles"] = statistics.quantiles(ratios, n=4)[::2]
