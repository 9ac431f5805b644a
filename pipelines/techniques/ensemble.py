"""Ensembles: several networks trained in turn, evaluated together.

Warm restarts: snapshot ensembles (Huang et al. 2017, arXiv 1704.00109). Fresh ones: deep ensembles (Lakshminarayanan
et al. 2017, arXiv 1612.01474).
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from pipelines import models
from pipelines.distributed.average import average_statistics
from pipelines.events import State
from pipelines.optim.tensor_lists import copy
from pipelines.recipe import techniques
from pipelines.seeds import seed_of_member, seed_of_rank
from pipelines.strategies.strategy import kept


def log_mean_probability(logits: Tensor) -> Tensor:
    """The logarithm of the members' mean softmax: (members, N, classes) to (N, classes), float32."""
    return logits.float().log_softmax(2).logsumexp(0) - math.log(len(logits))


def ends(steps: int, members: int) -> list[int]:
    """The step after which each member is done: shares of `steps` as equal as they can be."""
    return [round(steps * member / members) for member in range(1, members + 1)]


class Ensemble:
    """Keeps the weights at the end of each member's training; until there are any, the network is evaluated as it is.

    The members are called one after another in the one network there is, so that it stays compiled.
    """

    def __init__(self, config: techniques.Ensemble) -> None:
        self._config = config

    def trial_start(self, state: State) -> None:
        self._current = state.optimizer.master_tensors(state.network)
        self._ends = ends(state.steps, self._config.members)
        self._members: list[list[Tensor]] = []

    def step_end(self, state: State) -> None:
        if state.step in self._ends:
            average_statistics(state.network, state.world.data)
            self._members.append(clones(self._current))
            if self._config.restart == "fresh" and state.step < state.steps:
                restart(state, seed_of_member(state.seed, len(self._members)))

    def evaluation_start(self, state: State) -> None:
        self._trained, self._predict = clones(self._current), state.predict
        if self._members:
            state.predict = self._together(state)

    def evaluation_end(self, state: State) -> None:
        self._put(state, self._trained)
        state.predict = self._predict
        del self._trained

    def _together(self, state: State) -> Callable[[Tensor], Tensor]:
        def predict(images: Tensor) -> Tensor:
            logits = []
            for member in self._members:
                self._put(state, member)
                logits.append(kept(self._predict(images)))
            return log_mean_probability(torch.stack(logits))

        return predict

    def _put(self, state: State, tensors: list[Tensor]) -> None:
        copy(self._current, tensors)
        state.optimizer.copy_to_model()


def clones(tensors: list[Tensor]) -> list[Tensor]:
    return [tensor.clone() for tensor in tensors]


def restart(state: State, seed: int) -> None:
    """Initialise the network from `seed` and forget what the optimizer knows; what was whitened stays.

    The processes draw the same weights, and from then on each its own dropout, rank 0 as a single process does.
    """
    layers = models.whitening_layers(state.network)
    filters = clones([layer.weight.detach() for layer in layers])
    models.initialize(state.network, seed, state.recipe.initialization)
    if rank := state.world.data.rank:
        torch.manual_seed(seed_of_rank(seed, rank))
    for layer, weight in zip(layers, filters, strict=True):
        layer.weight.data.copy_(weight)
    state.optimizer.reset()
