"""Train the last layer alone, on the features of a backbone that stays as it is (after a pretraining)."""

from torch import Tensor

from pipelines.events import State
from pipelines.recipe import techniques


class LinearProbe:
    """No gradient goes into the backbone."""

    def __init__(self, config: techniques.LinearProbe) -> None:
        pass

    def trial_start(self, state: State) -> None:
        def forward(images: Tensor) -> Tensor:
            return state.network.head(state.network.layers(images).detach())

        state.forward = forward
