"""Let the batch grow in the course of the training, where others lower the learning rate (Smith, Kindermans, Ying & Le
2018, arXiv 1711.00489)."""

from itertools import pairwise

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


def shares(counts: list[int], images: list[int]) -> list[float]:
    """For each batch of a training, its share of the images that are gathered with it.

    counts: as above; images: of each batch.
    """
    found: list[float] = []
    for step, count in enumerate(counts):
        gathered = images[step + 1 - count : step + 1]
        found += [some / sum(gathered) for some in gathered]
    return found


class GatheringOptimizer(WrappedOptimizer):
    """Lets the gradients of several batches add up, each times its share, and then steps."""

    share = 1.0
    """of the batch in progress"""

    def __init__(self, inner: ScheduledOptimizer, counts: list[int]) -> None:
        super().__init__(inner)
        self._counts = counts

    def backward(self, loss: Tensor) -> None:
        super().backward(loss if self.share == 1 else self.share * loss)

    def step(self, step: int) -> None:
        if self._counts[step]:
            self.inner.step(step)


class GrowingBatch:
    """Puts itself between the loop and the optimizer."""

    def __init__(self, config: techniques.GrowingBatch) -> None:
        self._config = config

    def trial_start(self, state: State) -> None:
        recipe = state.recipe
        self._counts = gathered_batches(state.steps, state.steps_per_epoch, self._config)
        seen = [recipe.samples(step, state.train_images) for step in range(state.steps + 1)]
        images = [after - before for before, after in pairwise(seen)]
        if recipe.loss.reduction == "sum":  # it divides by `batch_size` whatever the images of a batch
            images = [recipe.batch_size] * state.steps
        self._shares = shares(self._counts, images)
        state.optimizer = self._optimizer = GatheringOptimizer(state.optimizer, self._counts)

    def batch_ready(self, state: State) -> None:
        self._optimizer.share = self._shares[state.step]

    def trial_end(self, state: State) -> None:
        state.notes["growing_batch"] = {"updates": sum(count > 0 for count in self._counts[: state.step])}
