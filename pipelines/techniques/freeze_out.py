"""Train the first stages of the network for the first epochs only (FreezeOut, Brock et al. 2017, arXiv:1706.04983)."""

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
        self._stages = 0
        self._frozen: list[nn.Parameter] = []

    def gradients_ready(self, state: State) -> None:
        for parameter in self._frozen:  # DDP has made gradients of zero, on which momentum and weight decay would go on
            parameter.grad = None

    def step_end(self, state: State) -> None:
        stages = self._config.frozen_stages(state.step, state.steps_per_epoch)
        if stages > self._stages:
            self._stages = stages
            self._frozen = list(models.until_stage(state.network, stages).parameters())
            state.forward = partial(state.forward, frozen_stages=stages)
