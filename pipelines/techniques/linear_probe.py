"""Train the last layer alone, on the features of a backbone that stays as it is (after a pretraining)."""

from functools import partial

from pipelines.events import State
from pipelines.recipe import techniques


class LinearProbe:
    """No gradient goes into the backbone."""

    def __init__(self, config: techniques.LinearProbe) -> None:
        pass

    def trial_start(self, state: State) -> None:
        state.forward = partial(state.forward, train_features=False)
