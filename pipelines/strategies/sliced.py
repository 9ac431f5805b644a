"""What the strategies share under which each process has a slice of the layers that can be cut, and computes the others
whole."""

from torch import Tensor, nn

from pipelines.distributed.process_group import World
from pipelines.events import State
from pipelines.recipe import Recipe
from pipelines.strategies.accumulation import make_backward
from pipelines.strategies.gradients import average_gradients
from pipelines.strategies.strategy import Materialized


class Sliced(Materialized):
    """The network of one process, whose subclass cuts it and puts what it trains into `_trained`."""

    def __init__(self, recipe: Recipe, network: nn.Module, world: World) -> None:
        super().__init__(recipe, network, world)
        self._copies = f", {world.data.size} data-parallel" if world.data.size > 1 else ""
        self._backward = make_backward(recipe, recipe.batch_size // world.data.size)
        self._trained: list[nn.Parameter] = []

    def backward(self, state: State) -> Tensor:
        """The gradients of a batch in the slices of each process, and its loss."""
        loss = self._backward(state)
        average_gradients(self._trained, self._world.data)
        return loss

    def close(self) -> None:
        super().close()
        self._trained = []
