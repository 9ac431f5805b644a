"""Lower the learning rate when the training loss stops falling (the rule of torch's ReduceLROnPlateau)."""

import math
from collections.abc import Iterable

from pipelines.events import State
from pipelines.recipe import techniques


def factor_after(losses: Iterable[float], knobs: techniques.ReduceOnPlateau) -> float:
    """The factor on the learning rates after epochs with these training losses."""
    factor, best, epochs_without = 1.0, math.inf, 0
    for loss in losses:
        if loss < best * (1 - knobs.threshold):
            best, epochs_without = loss, 0
        else:
            epochs_without += 1
        if epochs_without > knobs.patience:
            factor, epochs_without = max(factor * knobs.factor, knobs.min_factor), 0
    return factor


class ReduceOnPlateau:
    """Looks at all losses so far after each epoch; they are the same in every process."""

    def __init__(self, knobs: techniques.ReduceOnPlateau) -> None:
        self._knobs = knobs
        self._factor = 1.0

    def epoch_end(self, state: State) -> None:
        factor = factor_after((result.train_loss for result in state.history), self._knobs)
        state.stepper.scale_rates(factor / self._factor)
        self._factor = factor
