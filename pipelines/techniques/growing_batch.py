"""Let the batch grow in the course of the training, where others lower the learning rate (Smith, Kindermans, Ying & Le
2018, arXiv 1711.00489)."""

import torch
from torch import Tensor

from pipelines.events import State
from pipelines.optim.scheduled_optimizer import ScheduledOptimizer, WrappedOptimizer
from pipelines.recipe import techniques


def gathered_batches(steps: int, steps_per_epoch: int, config: techniques.GrowingBatch) -> list[int]:
    """For each batch of a training, how many are gathered when the optimizer steps after it; 0: it waits for more.

    An epoch's last step takes what there is.
    """
    counts, waiting = [], 0
    for step in range(steps):
        epoch, place = divmod(step, steps_per_epoch)
        begun = epoch + place / steps_per_epoch
        wanted = max((n for start, n in zip(config.epochs, config.batches, strict=True) if start <= begun), default=1)
        waiting += 1
        is_due = waiting >= wanted or place == steps_per_epoch - 1 or step == steps - 1
        counts.append(waiting if is_due else 0)
        waiting = 0 if is_due else waiting
    return counts


class GatheringOptimizer(WrappedOptimizer):
    """Lets the gradients of several batches add up, and then steps with their mean."""

    def __init__(self, inner: ScheduledOptimizer, counts: list[int], parameters: list[Tensor]) -> None:
        super().__init__(inner)
        self._counts = counts
        self._parameters = parameters

    def step(self, step: int) -> None:
        count = self._counts[step]
        if count == 0:
            return
        if count > 1:
            torch._foreach_div_([p.grad for p in self._parameters if p.grad is not None], count)
        self.inner.step(step)


class GrowingBatch:
    """Puts itself between the loop and the optimizer."""

    def __init__(self, config: techniques.GrowingBatch) -> None:
        self._config = config

    def trial_start(self, state: State) -> None:
        counts = gathered_batches(state.steps, state.steps_per_epoch, self._config)
        parameters = [parameter for parameter in state.network.parameters() if parameter.requires_grad]
        state.optimizer = GatheringOptimizer(state.optimizer, counts, parameters)
        state.notes["growing_batch"] = {"updates": sum(count > 0 for count in counts)}
