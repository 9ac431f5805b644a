"""What several processes need beside averaged gradients to train the weights that one process trains."""

from collections.abc import Callable

from torch import Tensor

from pipelines.distributed.average import average_statistics
from pipelines.distributed.process_group import World
from pipelines.events import State
from pipelines.recipe import Recipe

LossFunction = Callable[[Tensor, Tensor], Tensor]


class AveragedStatistics:
    """Before an evaluation, makes the norms' running statistics the mean over the processes."""

    def __init__(self, world: World) -> None:
        self._world = world

    def evaluation_start(self, state: State) -> None:
        average_statistics(state.network, self._world)


class UnevenBatch:
    """Makes an epoch's last batch exact where the processes have unequal shares of it.

    The processes average the gradients of their mean losses, each with the same weight. The mean over the batch weighs
    them by their images, those included that a technique has added. The value of the loss stays as it is.
    """

    def __init__(self, images: int, world: World) -> None:
        """images: in the last batch, over all processes."""
        self._images, self._processes = images, world.size
        self._share = images // world.size + (world.rank < images % world.size)
        self._weight = 1.0

    def batch_ready(self, state: State) -> None:
        assert state.labels is not None
        if (state.step + 1) % state.steps_per_epoch:
            self._weight = 1.0
            return
        count = len(state.labels)
        added = count - self._share  # on each of the processes
        self._weight = count * self._processes / (self._images + added * self._processes)

    def weighted(self, loss_function: LossFunction) -> LossFunction:
        """The mean loss, with its gradient multiplied by this process's weight in the batch."""

        def weighted_loss(logits: Tensor, labels: Tensor) -> Tensor:
            loss = loss_function(logits, labels)
            return loss.detach() + self._weight * (loss - loss.detach())

        return weighted_loss


def match_single_process(
    loss_function: LossFunction, recipe: Recipe, images: int, world: World
) -> tuple[LossFunction, list[AveragedStatistics | UnevenBatch]]:
    """The loss, and the callbacks of the training loop, with which several processes train as one does.

    images: in an epoch. A single process gets its loss back, and no callback.
    """
    if world.size == 1:
        return loss_function, []
    rest = 0 if recipe.drop_last else images % recipe.batch_size
    if rest % world.size == 0 or recipe.loss.reduction == "sum":
        return loss_function, [AveragedStatistics(world)]
    uneven = UnevenBatch(rest, world)
    return uneven.weighted(loss_function), [uneven, AveragedStatistics(world)]
