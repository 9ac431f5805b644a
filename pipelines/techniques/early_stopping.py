"""Early stopping on held-out images (Prechelt 1998, "Early stopping - but when?")."""

from pipelines.distributed.average import average_statistics
from pipelines.evaluate import evaluate
from pipelines.events import State
from pipelines.optim.tensor_lists import copy
from pipelines.recipe import techniques


class Patience:
    """Counts the values since the best one.

    best: the best value so far; waited: values since then that were not above it by more than `min_delta`.
    """

    def __init__(self, patience: int, min_delta: float) -> None:
        self._patience, self._min_delta = patience, min_delta
        self.best = float("-inf")
        self.waited = 0

    def see(self, value: float) -> bool:
        """Take the next value; whether it is a rise."""
        is_rise = value > self.best + self._min_delta
        self.best, self.waited = (value, 0) if is_rise else (self.best, self.waited + 1)
        return is_rise

    @property
    def is_over(self) -> bool:
        return self.waited >= self._patience


class EarlyStopping:
    """Measures the held-out accuracy after each epoch, without test-time augmentation, and ends the training."""

    def __init__(self, config: techniques.EarlyStopping) -> None:
        self._restore_best = config.restore_best
        self._patience = Patience(config.patience, config.min_delta)

    def trial_start(self, state: State) -> None:
        assert state.held_out is not None
        self._images, self._labels = state.held_out()
        self._config = state.recipe.evaluation.model_copy(update={"tta": "none"})
        self._weights = state.optimizer.master_tensors(state.network)
        self._best = [weight.clone() for weight in self._weights]
        self._best_epoch = 0

    def train_epoch_end(self, state: State) -> None:
        average_statistics(state.network, state.world.data)
        state.network.eval()
        accuracy = evaluate(state.predict, self._images, self._labels, self._config, state.world.data).with_tta
        state.network.train()
        if self._patience.see(accuracy):
            self._best_epoch = state.epoch + 1
            copy(self._best, self._weights)
        if self._patience.is_over:
            state.steps = state.step
        if self._restore_best and state.step == state.steps:
            copy(self._weights, self._best)
            state.optimizer.copy_to_model()

    def trial_end(self, state: State) -> None:
        state.notes["early_stopping"] = {"best_epoch": self._best_epoch, "held_out_accuracy": self._patience.best}
