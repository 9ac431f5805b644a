"""Short trials whose numbers do not depend on the device that draws them."""

import contextlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from pipelines import recipe as recipes
from pipelines.clock import Clock
from pipelines.data.dataset import Dataset
from pipelines.distributed.process_group import World
from pipelines.events import State
from pipelines.recipe import Recipe
from pipelines.train import run_trial, set_up
from tests.fake_cuda.simulate import noise

CUDA = torch.device("cuda", 0)
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Outcome:
    losses: list[float]
    """mean training loss of each epoch"""
    accuracies: list[float | None]
    weights: dict[str, Tensor]
    """at the end, on the CPU"""
    start: dict[str, Tensor]
    """before the first step, on the CPU"""


class From:
    """An observer that begins a trial with given weights, or keeps those with which it begins."""

    def __init__(self, start: dict[str, Tensor] | None) -> None:
        self.start = start

    def trial_start(self, state: State) -> None:
        if self.start is None:
            self.start = on_cpu(state.network.state_dict())
        else:
            state.network.load_state_dict(self.start)
            state.optimizer.reset()


def on_cpu(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}


def nudge(tensors: dict[str, Tensor], by: float = 1e-6) -> dict[str, Tensor]:
    """Each value changed by about this share of it, the same way at each call."""
    random = torch.Generator().manual_seed(0)
    return {
        name: tensor * (1 + by * torch.randn(tensor.shape, generator=random)) if tensor.is_floating_point() else tensor
        for name, tensor in tensors.items()
    }


def in_bulk(name: str, *overrides: str) -> Recipe:
    """A recipe whose order and augmentation are drawn on the host, wherever it trains."""
    return recipes.load(name, ["loader={name: bulk}", *overrides])


def train(recipe: Recipe, dataset: Dataset, device: torch.device, start: dict[str, Tensor] | None = None) -> Outcome:
    """A trial on a device, from given weights or from those that it draws."""
    setup = set_up(recipe, dataset, World(0, 1, device))
    observer = From(start)
    trial = run_trial(setup, 0, [observer])
    results = trial.epochs
    weights = on_cpu(setup.network.state_dict())
    return Outcome([r.train_loss for r in results], [r.accuracy for r in results], weights, observer.start)


def dataset_for(recipe: Recipe) -> Dataset:
    """Random images and labels for three steps an epoch."""
    return noise(recipe)


@contextlib.contextmanager
def no_waiting(laps: frozenset[str], switch: Any = None) -> Iterator[None]:
    """Within laps of these names, whatever makes the host wait for the device raises.

    switch: in place of `torch.cuda.set_sync_debug_mode`, which takes `error` and `default`.
    """
    switch = switch or torch.cuda.set_sync_debug_mode
    real_lap = Clock.lap

    @contextlib.contextmanager
    def lap(clock: Clock, name: str, epoch: int | None = None) -> Iterator[None]:
        with real_lap(clock, name, epoch):
            if name not in laps:
                yield
                return
            switch("error")
            try:
                yield
            finally:
                switch("default")

    with mock.patch.object(Clock, "lap", lap):
        yield


@contextlib.contextmanager
def counted_waiting() -> Iterator[list[str]]:
    """The messages of torch about what made the host wait."""
    torch.cuda.set_sync_debug_mode("warn")
    found: list[str] = []
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield found
    finally:
        torch.cuda.set_sync_debug_mode("default")
    found += [str(one.message) for one in caught if "synchronizing CUDA operation" in str(one.message)]


def relative_difference(one: Tensor, other: Tensor) -> float:
    """The norm of the difference over that of the second."""
    one, other = one.double(), other.double()
    return float((one - other).norm() / other.norm().clamp(min=1e-12))


def graphs() -> int:
    """Graphs that torch.compile has made so far in this process."""
    return torch._dynamo.utils.counters["stats"]["unique_graphs"]


def graph_breaks() -> dict[str, int]:
    """Why torch.compile has cut graphs so far, and how often."""
    return dict(torch._dynamo.utils.counters["graph_break"])
