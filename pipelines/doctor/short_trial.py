"""An epoch of the recipe's own trial, and perhaps a few steps more, on a thousand images or more, and what was seen in
them.

What the network is fed, how it is called and what its first gradients are is read off `run_trial` itself, not off a
copy of it that could be right where the original is wrong.
"""

import math
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from pipelines.data.dataset import Dataset
from pipelines.events import State
from pipelines.strategies.strategy import InPlace
from pipelines.train import TrainingSetup, run_trial
from pipelines.trial import Trial

IMAGES = (1000, 10_000)
"""training images that it takes, at least and at most: PER_CLASS of each class, where these bounds leave so many"""
PER_CLASS = 100
TEST_IMAGES = 200
TIMED_STEPS = 10
"""steps of the second epoch, at most"""


@dataclass
class Observed:
    """What one trial showed. Its first epoch was watched closely, its second, if any, was left alone and timed."""

    trial: Trial
    start: dict[str, Tensor]
    """the network as the trial initialised it"""
    end: dict[str, Tensor]
    """the network as the trial left it"""
    images: Tensor
    """(N, C, height, width), one epoch as the network was fed"""
    labels: Tensor
    """(N,), those of the images, on the same device"""
    gradients: dict[str, Tensor]
    """of the mean loss at the first step that is not left out for its overflow; a parameter that got none is missing"""
    modes: dict[bool, set[bool]]
    """whether the network was in training mode (the values) while gradients were taken (the keys)"""
    steps: int
    """of the first epoch"""


@dataclass
class _Watch:
    """An observer of the trial's first epoch."""

    start: dict[str, Tensor] = field(default_factory=dict)
    images: list[Tensor] = field(default_factory=list)
    labels: list[Tensor] = field(default_factory=list)
    gradients: dict[str, Tensor] = field(default_factory=dict)
    has_gradients: bool = False

    def trial_start(self, state: State) -> None:
        self.start = copies(state)

    def batch_ready(self, state: State) -> None:
        if state.epoch == 0:
            assert state.images is not None
            assert state.labels is not None
            self.images.append(state.images.clone())
            self.labels.append(hard(state.labels))

    def gradients_ready(self, state: State) -> None:
        if self.has_gradients or state.epoch > 0:
            return
        scaler = getattr(state.optimizer, "scaler", None)  # torch's GradScaler, under loss.scaling=dynamic
        scale = scaler.get_scale() if scaler else state.gradient_scale
        self.gradients = {
            name: parameter.grad.detach().float() / scale
            for name, parameter in state.network.named_parameters()
            if parameter.grad is not None
        }
        self.has_gradients = scaler is None or all(one.isfinite().all() for one in self.gradients.values())


def copies(trained: TrainingSetup | State) -> dict[str, Tensor]:
    """The network's weights and statistics as they are now."""
    return {name: tensor.clone() for name, tensor in trained.network.state_dict().items()}


def hard(labels: Tensor) -> Tensor:
    """Class numbers; of mixed labels (N, classes), the largest share."""
    return labels.argmax(1) if labels.ndim > 1 else labels.clone()


def shortened(dataset: Dataset, batch_size: int) -> Dataset:
    """Whole batches of training images, every class in its proportion, and a few test images."""
    wanted = min(max(PER_CLASS * len(dataset.class_names), IMAGES[0]), IMAGES[1])
    count = math.ceil(wanted / batch_size) * batch_size
    count = min(count, len(dataset.train_labels) // batch_size * batch_size or len(dataset.train_labels))
    chosen = stratified(dataset.train_labels, count)
    return replace(
        dataset,
        train_images=dataset.train_images[chosen],
        train_labels=dataset.train_labels[chosen],
        test_images=dataset.test_images[:TEST_IMAGES],
        test_labels=dataset.test_labels[:TEST_IMAGES],
        pool_images=dataset.pool_images[:count],
        pool_labels=dataset.pool_labels[:count],
    )


def stratified(labels: np.ndarray, count: int) -> np.ndarray:
    """`count` indices in random order, always the same, every class in its proportion."""
    generator = np.random.default_rng(0)
    shuffled = generator.permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    return generator.permutation(by_class[np.arange(count) * len(labels) // count])


def observe(setup: TrainingSetup, seed: int = 0) -> Observed:
    """Run a short trial of the recipe and return what happened in them. The network is left as they trained it."""
    evaluation = setup.recipe.evaluation.model_copy(update={"every": 1, "train_accuracy": False})
    dataset = shortened(setup.dataset, setup.recipe.batch_size)
    steps_per_epoch = setup.recipe.steps_per_epoch(len(dataset.train_labels))
    # a CPU has little to do before the first step, and takes long for a large batch: one is timed well enough
    is_timed_again = setup.world.device.type != "cpu" or setup.recipe.batch_size < IMAGES[0]
    epochs = 1 + is_timed_again * min(TIMED_STEPS / steps_per_epoch, 1.0)
    recipe = setup.recipe.model_copy(update={"epochs": epochs, "evaluation": evaluation})
    watch = _Watch()
    modes: dict[bool, set[bool]] = {}

    called = in_place(setup).forward

    def forward(*images: Tensor, **options: bool) -> Tensor:
        modes.setdefault(torch.is_grad_enabled(), set()).add(setup.network.training)
        return called(*images, **options)

    strategy = replace(in_place(setup), forward=forward)
    short = replace(setup, recipe=recipe, dataset=dataset, strategy=strategy)
    trial = run_trial(short, seed, [watch])
    images, labels = torch.cat(watch.images), torch.cat(watch.labels)
    return Observed(trial, watch.start, copies(setup), images, labels, watch.gradients, modes, len(watch.images))


def in_place(setup: TrainingSetup) -> InPlace:
    """The strategy of a setup that trains its network in place, as that of a single process does."""
    assert isinstance(setup.strategy, InPlace)
    return setup.strategy
