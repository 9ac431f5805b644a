"""The events of a trial, and the state that hooks see. Nothing else hooks into the loop.

    pretrain                           network initialised and whitened, optimizer made; may train the network before
                                       the training, in a lap of its own
    trial_start                        the weights are those with which the training begins
    for each epoch:
        epoch_start                    the epoch's batches are drawn and augmented
        for each batch:
            batch_ready                may replace state.images and state.labels
            forward, loss, backward    of the batch, or of each of its micro-batches
            gradients_ready            may change the gradients
            optimizer step
            step_end
        train_epoch_end                timed as evaluation; state.steps = state.step ends the training
        evaluation_start               may put other weights into the network, or another function in state.predict
        evaluation, over the whole test set (in the last epoch: the final one)
        evaluation_end                 puts the trained weights back
        epoch_end                      state.history[-1] holds the epoch's result; outside every lap
    trial_end                          may add to state.notes

A technique implements the events that it needs. One that a recipe does not list is not called and costs nothing: the
loop runs over the methods that are really there.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from pipelines.clock import Lap
from pipelines.data.loader import Batches, Loader
from pipelines.data.pool import ImagePool
from pipelines.distributed.process_group import World
from pipelines.optim.scheduled_optimizer import ScheduledOptimizer
from pipelines.recipe import Recipe
from pipelines.trial import EpochResult


def supervised(state: "State", images: Tensor, labels: Tensor) -> Tensor:
    """The loss of a batch as it is without techniques: a scalar."""
    return state.loss_function(state.forward(images), labels)


@dataclass
class State:
    """What a technique sees, and may change, of the trial in progress."""

    recipe: Recipe
    network: nn.Module
    forward: Callable[..., Tensor]
    """the network as the training calls it; a technique may put another function in its place"""
    optimizer: ScheduledOptimizer
    seed: int
    steps: int
    """steps of the whole trial; a technique may end the training with an epoch by setting it to `step`"""
    steps_per_epoch: int
    train_images: int = 0
    """images of the training set, or its sequences of tokens"""
    world: World = field(default_factory=World)
    loss_function: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy
    """of logits and labels, as the recipe wants it"""
    gradient_scale: int = 1
    """how many times the gradient of the mean loss the gradients are"""
    held_out: Callable[[], tuple[Tensor, Tensor]] | None = None
    """puts the held-out images, (N, channels, height, width), and their labels on the device"""
    objective: Callable[["State", Tensor, Tensor], Tensor] = supervised
    """what is minimised, from a batch of images and labels; a technique may put another function in its place"""
    loader: Loader | None = None
    """has the labelled images as they are, too"""
    pool: Callable[..., ImagePool] | None = None
    """makes a pool of the images of the data set's parts named, by itself of those without labels"""
    epoch: int = 0
    """the epoch in progress, from 0"""
    step: int = 0
    """steps done since the trial began"""
    batches: Batches | None = None
    """the batches of the epoch in progress"""
    images: Tensor | None = None
    """(N, channels, height, width); or (N, length) tokens"""
    labels: Tensor | None = None
    """(N,) class numbers, or (N, classes) probabilities that a technique has put in their place; or the (N, length)
    targets of the tokens"""
    history: list[EpochResult] = field(default_factory=list)
    laps: list[Lap] = field(default_factory=list)
    """the laps that have ended"""
    class_names: tuple[str, ...] = ()
    notes: dict[str, object] = field(default_factory=dict)
    """what the record should say of this trial beside accuracy and time; must be plain JSON values"""
    predict: Callable[[Tensor], Tensor] = field(init=False)
    """what evaluation calls, from images to logits: the network, unless a technique puts another function here"""

    def __post_init__(self) -> None:
        self.predict = self.forward

    @property
    def epochs(self) -> float:
        """Of the whole trial."""
        return self.recipe.epochs


Hook = Callable[[State], None]


class Hooks:
    """For each event, the methods that some technique implements, in the order of the techniques."""

    pretrain: tuple[Hook, ...]
    trial_start: tuple[Hook, ...]
    epoch_start: tuple[Hook, ...]
    batch_ready: tuple[Hook, ...]
    gradients_ready: tuple[Hook, ...]
    step_end: tuple[Hook, ...]
    train_epoch_end: tuple[Hook, ...]
    evaluation_start: tuple[Hook, ...]
    evaluation_end: tuple[Hook, ...]
    epoch_end: tuple[Hook, ...]
    trial_end: tuple[Hook, ...]

    def __init__(self, techniques: list[Any]) -> None:
        for event in EVENTS:
            methods = tuple(getattr(technique, event) for technique in techniques if hasattr(technique, event))
            setattr(self, event, methods)


EVENTS = tuple(Hooks.__annotations__)
