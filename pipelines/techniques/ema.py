"""Exponential moving average of the weights (Polyak & Juditsky 1992; post 8 of "How to train your ResNet")."""

import torch
from torch import Tensor

from pipelines.events import State
from pipelines.optim.tensor_lists import by_dtype, cast, copy
from pipelines.recipe import techniques


def update(average: list[Tensor], current: list[Tensor], momentum: float) -> None:
    """average = momentum * average + (1 - momentum) * current, in place, in the dtype of the average."""
    for averages, tensors in by_dtype(average, current):
        torch._foreach_mul_(averages, momentum)
        torch._foreach_add_(averages, cast(tensors, averages[0].dtype), alpha=1 - momentum)


def update_steps(steps: int, steps_per_epoch: int, every: int, *, per_epoch: bool) -> frozenset[int]:
    """The steps of a training, from 1, after which the average is updated."""
    if per_epoch:
        return frozenset(step + 1 for step in range(steps) if step % steps_per_epoch % every == 0)
    return frozenset(range(every, steps + 1, every))


class EMA:
    """Keeps a float32 average of all floating-point parameters and buffers, and evaluates that."""

    def __init__(self, config: techniques.EMA) -> None:
        self._every = config.every
        self._momentum = config.momentum**config.every
        self._per_epoch = config.per_epoch

    def trial_start(self, state: State) -> None:
        self._is_due = update_steps(state.steps, state.steps_per_epoch, self._every, per_epoch=self._per_epoch)
        self._current = state.optimizer.master_tensors(state.network)
        self._average = [tensor.float().clone() for tensor in self._current]

    def step_end(self, state: State) -> None:
        if state.step in self._is_due:
            update(self._average, self._current, self._momentum)

    def evaluation_start(self, state: State) -> None:
        self._trained = [tensor.clone() for tensor in self._current]
        self._put(state, self._average)

    def evaluation_end(self, state: State) -> None:
        self._put(state, self._trained)
        del self._trained

    def _put(self, state: State, tensors: list[Tensor]) -> None:
        copy(self._current, tensors)
        state.optimizer.copy_to_model()
