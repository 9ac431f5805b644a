"""Dropout whose rates change during the training, linearly or as in "Curriculum Dropout" (Morerio et al. 2017)."""

import math
from functools import partial

from pipelines.events import State
from pipelines.models.dropout import Dropout
from pipelines.recipe import techniques


def linear(start: float, end: float, step: int, last: float) -> float:
    """The rate after so many steps: from `start` to `end` at step `last`, and `end` from then on."""
    return start + (end - start) * min(step / last, 1.0)


def exponential(start: float, end: float, step: int, gamma: float) -> float:
    """The rate after so many steps: exp(-gamma * step) of the way from `start` to `end` is left.

    From a start of 0, a value is kept with probability (1 - p) exp(-gamma t) + p, where p is 1 - `end`: the schedule of
    Morerio et al.
    """
    return end + (start - end) * math.exp(-gamma * step)


class ProgressiveDropout:
    """Sets the rate of every dropout in the network before each step."""

    def __init__(self, config: techniques.ProgressiveDropout) -> None:
        self._config = config

    def trial_start(self, state: State) -> None:
        config = self._config
        if config.gamma is not None:
            self._rate = partial(exponential, gamma=config.gamma)
        else:
            assert config.end_epoch is not None
            self._rate = partial(linear, last=config.end_epoch * state.steps_per_epoch)
        dropouts = [module for module in state.network.modules() if isinstance(module, Dropout)]
        self._starts = [(dropout, getattr(config.start, dropout.place)) for dropout in dropouts]
        self.step_end(state)

    def step_end(self, state: State) -> None:
        for dropout, start in self._starts:
            dropout.set_rate(self._rate(start, dropout.rate, state.step))
