"""The gradients of a batch: from all of its images at once, or accumulated over micro-batches."""

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial

from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from pipelines.events import State
from pipelines.recipe import Recipe

Backward = Callable[[State], Tensor]
"""Leaves the gradients of `state.images` and `state.labels` in the parameters and returns their loss, a scalar."""

Differentiate = Callable[[State, Tensor], object]
"""Leaves the gradients of a loss in the parameters."""


def by_stepper(state: State, loss: Tensor) -> None:
    """torch's own backward pass, of the loss as the optimizer wants it scaled."""
    state.stepper.backward(loss)


def make_backward(
    recipe: Recipe, network: nn.Module, local_batch_size: int, differentiate: Differentiate = by_stepper
) -> Backward:
    """Forward and backward pass as the recipe's `accumulation` wants them. ValueError if it does not divide the batch.

    network: as the processes share it; local_batch_size: images per step in one process.
    """
    if recipe.accumulation == 1:
        return partial(whole_batch, differentiate=differentiate)
    size, rest = divmod(local_batch_size, recipe.accumulation)
    if rest:
        raise ValueError(
            f"accumulation={recipe.accumulation} does not divide the {local_batch_size} images that a process has a "
            "step: say a divisor of that number"
        )
    is_replicated = isinstance(network, DistributedDataParallel)
    return partial(
        accumulated,
        size=size,
        is_mean=recipe.loss.reduction == "mean",
        unsynchronized=network.no_sync if is_replicated else contextlib.nullcontext,
        differentiate=differentiate,
    )


def whole_batch(state: State, differentiate: Differentiate = by_stepper) -> Tensor:
    """One forward and one backward pass."""
    loss = state.objective(state, state.images, state.labels)
    differentiate(state, loss)
    return loss.detach()


def accumulated(
    state: State,
    *,
    size: int,
    is_mean: bool,
    unsynchronized: Callable[[], AbstractContextManager],
    differentiate: Differentiate,
) -> Tensor:
    """Forward and backward passes of `size` images each, which add up to the gradients and the loss of the batch.

    A mean loss is weighted by the images that it is the mean of. `unsynchronized`: within it the processes do not
    exchange gradients; they do so once, with the last micro-batch.
    """
    assert state.images is not None
    assert state.labels is not None

    def part(images: Tensor, labels: Tensor) -> Tensor:
        share = len(images) / batch if is_mean else 1.0
        loss = share * state.objective(state, images, labels)
        differentiate(state, loss)
        return loss.detach()

    batch = len(state.images)
    *others, last = zip(state.images.split(size), state.labels.split(size), strict=True)
    with unsynchronized():
        losses = [part(images, labels) for images, labels in others]
    return sum(losses, start=part(*last))
