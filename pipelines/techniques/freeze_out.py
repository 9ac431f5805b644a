"""Train the first stages of the network for the first epochs only (FreezeOut, Brock et al. 2017, arXiv:1706.04983)."""

from bisect import bisect_right
from functools import partial

from torch import nn

from pipelines import models
from pipelines.events import State
from pipelines.recipe import techniques


class FreezeOut:
    """After the epochs of a stage the network is called with `frozen_stages`: an argument of the forward function for
    the reason given in `WhiteningBias`. The norms of frozen stages still normalise by the statistics of the batch.
    """

    def __init__(self, config: techniques.FreezeOut) -> None:
        self._config = config
        self._frozen: list[nn.Parameter] = []

    def trial_start(self, state: State) -> None:
        self._ends = self._config.ends(state.steps_per_epoch)

    def gradients_ready(self, state: State) -> None:
        for parameter in self._frozen:  # DDP has made gradients of zero, on which momentum and weight decay would go on
            parameter.grad = None

    def step_end(self, state: State) -> None:
        if state.step in self._ends:
            stages = bisect_right(self._ends, state.step)
            self._frozen = list(models.until_stage(state.network, stages).parameters())
            state.forward = partial(state.forward, frozen_stages=stages)
