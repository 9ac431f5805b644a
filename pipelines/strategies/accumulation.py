"""The gradients of a batch: from all of its images at once, or accumulated over micro-batches."""

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial

from torch import Tensor

from pipelines.events import State
from pipelines.recipe import Recipe

Backward = Callable[[State], Tensor]
"""Leaves the gradients of `state.images` and `state.labels` in the parameters and returns their loss, a scalar."""

Differentiate = Callable[[State, Tensor], object]
"""Leaves the gradients of a loss in the parameters."""


def by_optimizer(state: State, loss: Tensor) -> None:
    """torch's own backward pass, of the loss as the optimizer wants it scaled."""
    state.optimizer.backward(loss)


def make_backward(
    recipe: Recipe,
    local_batch_size: int,
    *,
    unsynchronized: Callable[[], AbstractContextManager] = contextlib.nullcontext,
    differentiate: Differentiate = by_optimizer,
) -> Backward:
    """Forward and backward pass as the recipe's `accumulation` wants them.

    local_batch_size: images per step in one process, which `accumulation` divides. Within `unsynchronized` the
    processes do not reduce gradients.
    """
    if recipe.accumulation == 1:
        return partial(whole_batch, differentiate=differentiate)
    size, rest = divmod(local_batch_size, recipe.accumulation)
    assert not rest, "preflight checks it"
    return partial(
        accumulated,
        size=size,
        is_mean=recipe.loss.reduction == "mean",
        unsynchronized=unsynchronized,
        differentiate=differentiate,
    )


def whole_batch(state: State, differentiate: Differentiate = by_optimizer) -> Tensor:
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

    A mean loss is weighted by the images that it is the mean of. The processes reduce their gradients once, with the
    last micro-batch.
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
