"""Lookahead with a decay that may grow over the training (Zhang et al. 2019; airbench94, Jordan 2024)."""

import math

import torch
from torch import Tensor

from pipelines.events import State
from pipelines.optim.tensor_lists import by_dtype
from pipelines.recipe import techniques


@torch.no_grad()
def pull(slow: list[Tensor], fast: list[Tensor], decay: float) -> None:
    """slow = decay * slow + (1 - decay) * fast, and fast = slow, both in place."""
    for part_of_slow, part_of_fast in by_dtype(slow, fast):
        torch._foreach_lerp_(part_of_slow, part_of_fast, 1 - decay)
        torch._foreach_copy_(part_of_fast, part_of_slow)


class Lookahead:
    """Keeps slow copies of the weights and statistics; the trained ones are set back to them every few steps."""

    def __init__(self, config: techniques.Lookahead) -> None:
        self._config = config

    def trial_start(self, state: State) -> None:
        self._fast = state.optimizer.master_tensors(state.network)
        self._slow = [tensor.clone() for tensor in self._fast]
        every, start = self._config.every, self._config.start_epoch * state.steps_per_epoch
        self._first = every * math.ceil(round(start, 6) / every)

    def step_end(self, state: State) -> None:
        if state.step < self._first:
            return
        if state.step == self._first:
            self._pull(state, 0.0)  # the slow weights begin here
        elif state.step % self._config.every == 0:
            self._pull(state, self._config.decay * (state.step / state.steps) ** self._config.power)
        if state.step == state.steps:
            self._pull(state, 1.0)  # the training ends on the slow weights

    def _pull(self, state: State, decay: float) -> None:
        pull(self._slow, self._fast, decay)
        state.optimizer.copy_to_model()
