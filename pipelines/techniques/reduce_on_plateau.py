"""Lower the learning rate when the training loss stops falling (the rule of torch's ReduceLROnPlateau)."""

import math
from collections.abc import Iterable

from pipelines.events import State
from pipelines.recipe import techniques


def factor_after(losses: Iterable[float], config: techniques.ReduceOnPlateau) -> float:
    """The factor on the learning rates after epochs with these training losses."""
    factor, best, epochs_without = 1.0, math.inf, 0
    for loss in losses:
        if loss < best * (1 - config.threshold):
            best, epochs_without = loss, 0
        else:
            epochs_without += 1
        if epochs_without > config.patience:
            factor, epochs_without = max(factor * config.factor, config.min_factor), 0
    return factor


class ReduceOnPlateau:
    """Looks at all losses so far after each epoch; they are the same in every process."""

    def __init__(self, config: techniques.ReduceOnPlateau) -> None:
        self._config = config
        self._factor = 1.0

    def epoch_end(self, state: State) -> None:
        factor = factor_after((result.train_loss for result in state.history), self._config)
        state.optimizer.scale_rates(factor / self._factor)
        self._factor = factor
