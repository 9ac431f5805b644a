"""What a recipe does on a few images: every batch, learning rate and weight, in float64."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kernels import activations
from pipelines import losses, models, recipe, train
from pipelines.data.dataset import Dataset
from pipelines.distributed.process_group import World
from pipelines.events import State
from pipelines.optim import optimizers
from tests.fidelity.reference import celu

Weights = dict[str, Tensor]


@dataclass
class Trajectory:
    """A training, step by step."""

    start: Weights = field(default_factory=dict)
    """before the first step, statistics of the norms included"""
    batches: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    """images and labels of each step, as the loader gave them"""
    rates: list[dict[str, float]] = field(default_factory=list)
    """learning rate of each role at each step, for the loss that was back-propagated"""
    weights: list[Weights] = field(default_factory=list)
    """after each step"""
    evaluated: list[Weights] = field(default_factory=list)
    """what was evaluated, each epoch"""
    proxy_start: Weights = field(default_factory=dict)
    """of the proxy network, if there is one"""

    def trial_start(self, state: State) -> None:
        self._network = state.network
        self.start = copied(state.network)

    def epoch_start(self, state: State) -> None:
        self.batches += [(images.clone(), labels.clone()) for images, labels in state.batches]

    def step_end(self, state: State) -> None:
        groups = [group for optimizer in state.optimizer.optimizers for group in optimizer.param_groups]
        self.rates.append({group["role"]: group["lr"] for group in groups})
        self.weights.append(copied(state.network))

    def evaluation_start(self, state: State) -> None:
        self.evaluated.append(copied(state.network))

    def trial_end(self, state: State) -> None:
        del self.batches[state.step :]  # the rest of the last epoch


def copied(network: nn.Module) -> Weights:
    """Parameters and statistics by name."""
    return {name: tensor.clone() for name, tensor in network.state_dict().items() if tensor.is_floating_point()}


def noise(count: int) -> Dataset:
    """Random images of ten classes."""
    generator = np.random.default_rng(0)
    parts = {}
    for part, images in (("train", count), ("test", 20), ("pool", 0)):
        parts[f"{part}_images"] = generator.integers(256, size=(images, 32, 32, 3), dtype=np.uint8)
        parts[f"{part}_labels"] = generator.integers(10, size=images)
    mean, std = (125.31, 122.95, 113.87), (62.99, 62.09, 66.70)
    return Dataset(name="noise", class_names=tuple("abcdefghij"), mean=mean, std=std, **parts)


@contextmanager
def float64(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Train in float64 what is float32, bfloat16 or a float32 loss otherwise.

    The derivative of torch's own CELU has coefficients in float32, in float64 too.
    """
    with monkeypatch.context() as patch:
        patch.setattr(train, "number_formats", lambda *_: (torch.float64, torch.float64))
        patch.setattr(models, "to_precision", lambda network, *_, **__: network.double())
        patch.setattr(torch.Tensor, "bfloat16", lambda tensor: tensor)
        patch.setattr(optimizers, "orthogonalization_dtype", lambda device: torch.float64)
        patch.setitem(activations.FUSED, "celu", celu)
        patch.setattr(
            losses,
            "label_smoothing_cross_entropy",
            lambda logits, labels, smoothing, reduction: F.cross_entropy(
                logits, labels, label_smoothing=smoothing, reduction=reduction
            ),
        )
        yield


@cache
def follow(name: str, overrides: tuple[str, ...], images: int) -> Trajectory:
    """Train a recipe on so many images of noise. Tests that ask for the same training share it."""
    chosen = recipe.load(name, [*overrides, "precision=float32", "compile=false"])
    initialized = []
    initialize = models.initialize
    trajectory = Trajectory()

    class Proxies:
        def trial_start(self, state: State) -> None:
            if initialized[-1] is not state.network:
                trajectory.proxy_start = copied(initialized[-1])

    with pytest.MonkeyPatch.context() as monkeypatch, float64(monkeypatch):
        monkeypatch.setattr(
            models, "initialize", lambda network, *rest: initialized.append(network) or initialize(network, *rest)
        )
        bench = train.set_up(chosen, noise(images), World())
        train.run_trial(bench, seed=3, observers=[trajectory, Proxies()])
    return trajectory


def largest_difference(ours: Weights, theirs: Weights) -> float:
    """Over all weights and statistics."""
    return max(float((ours[name].double() - theirs[name].double()).abs().max()) for name in theirs)
