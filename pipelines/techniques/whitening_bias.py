"""Train the whitening layer's bias for the first epochs only (airbench94, Jordan 2024)."""

from functools import partial

from pipelines import models
from pipelines.events import State
from pipelines.recipe import techniques


class WhiteningBias:
    """After its epochs the network is called with `train_whitening_bias=False`.

    It is an argument of the forward function, because torch.compile reuses a stale graph when `requires_grad` is
    flipped (pytorch/pytorch#139476).
    """

    def __init__(self, config: techniques.WhiteningBias) -> None:
        self._epochs = config.epochs
        self._is_frozen = False

    def trial_start(self, state: State) -> None:
        self._last = max(1, round(self._epochs * state.steps_per_epoch))
        self._layers = models.whitening_layers(state.network)

    def gradients_ready(self, state: State) -> None:
        if self._is_frozen:  # DDP has made a gradient of zero, on which momentum and weight decay would go on
            for layer in self._layers:
                layer.bias.grad = None

    def step_end(self, state: State) -> None:
        if state.step == self._last:
            self._is_frozen = True
            state.forward = partial(state.forward, train_whitening_bias=False)
