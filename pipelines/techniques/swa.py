"""Stochastic weight averaging (Izmailov et al. 2018, arXiv 1803.05407)."""

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import get_swa_multi_avg_fn

from pipelines.distributed.process_group import World
from pipelines.events import State
from pipelines.optim.tensor_lists import cast, copy
from pipelines.recipe import techniques


@torch.no_grad()
def estimate_statistics(
    network: nn.Module, forward: Callable[[Tensor], Tensor], batches: Iterable[Tensor], world: World
) -> None:
    """Set the running statistics of the norms to the mean of those of the batches, over all processes.

    forward: the network as it is called. Nothing but the norms is in training mode, so that nothing is drawn. A batch's
    statistics are read from an update that starts at zero, since torch's `update_bn` asks for a norm's momentum to be
    None, and a change of it would compile the network again.
    """
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    if not norms:
        return
    network.eval()
    for norm in norms:
        norm.train()
    running = [statistic for norm in norms for statistic in (norm.running_mean, norm.running_var)]
    sums = [torch.zeros_like(statistic) for statistic in running]
    count = 0
    for images in batches:
        torch._foreach_zero_(running)
        forward(images)
        torch._foreach_add_(sums, running)
        count += 1
    momenta = [norm.momentum for norm in norms for _ in range(2)]
    for statistic, total, momentum in zip(running, sums, momenta, strict=True):
        statistic.copy_(world.sum(total) / (momentum * count * world.size))


def micro_batches(state: State) -> Iterator[Tensor]:
    """The images of the epoch in progress, as many at a time as the training takes."""
    size = state.recipe.batch_size // state.world.data.size // state.recipe.accumulation
    for images, _ in state.batches:
        yield from images.split(size)


class SWA:
    """Keeps the float32 mean of the weights at the ends of the last epochs, and evaluates that."""

    def __init__(self, config: techniques.SWA) -> None:
        self._start = config.start
        self._update = get_swa_multi_avg_fn()

    def trial_start(self, state: State) -> None:
        self._current = state.optimizer.master_tensors(state.network)
        self._average = [tensor.float().clone() for tensor in self._current]
        self._averaged = 0

    def step_end(self, state: State) -> None:
        is_end = state.step == state.steps or state.step % state.steps_per_epoch == 0
        if is_end and state.step >= self._start * state.steps:
            self._update(self._average, cast(self._current, torch.float32), self._averaged)
            self._averaged += 1

    def evaluation_start(self, state: State) -> None:
        self._trained = [tensor.clone() for tensor in self._current]
        if self._averaged:
            self._put(state, self._average)
            estimate_statistics(state.network, state.forward, micro_batches(state), state.world.data)

    def evaluation_end(self, state: State) -> None:
        self._put(state, self._trained)
        del self._trained

    def _put(self, state: State, tensors: list[Tensor]) -> None:
        copy(self._current, tensors)
        state.optimizer.copy_to_model()
