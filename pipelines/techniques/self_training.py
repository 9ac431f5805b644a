"""Self-training by a curriculum: learn from the labels that the network gives to unlabelled images (Lee 2013).

The share of the images that is admitted grows from cycle to cycle, the most certain first (Cascante-Bonilla et al.,
"Curriculum Labeling", 2021).
"""

import torch
from torch import Tensor

from pipelines.events import State
from pipelines.recipe import techniques
from pipelines.seeds import seed_of_member
from pipelines.techniques.ensemble import restart
from pipelines.techniques.semi_supervised import probabilities, unlabelled_per_step


def admit(confidence: Tensor, share: float) -> Tensor:
    """Indices of the most confident `share` of (N,) images: those above the quantile 1 - share."""
    return confidence.topk(round(share * len(confidence))).indices


def admitted_share(epoch: int, config: techniques.SelfTraining) -> float:
    """The share admitted in epoch `epoch`, from 0: a straight line from 0 at the start epoch to the last share."""
    progress = (epoch - config.start_epoch) / (config.end_epoch - config.start_epoch)
    return config.share * min(max(progress, 0.0), 1.0)


class SelfTraining:
    """Adds pseudo-labelled images to every batch; the network labels them anew at the start of each cycle."""

    def __init__(self, config: techniques.SelfTraining) -> None:
        self._config = config
        self._batches: list[tuple[Tensor, Tensor]] = []
        self._log: list[dict[str, object]] = []

    def trial_start(self, state: State) -> None:
        self._pool = state.pool()
        self._admitted = self._labels = torch.empty(0, dtype=torch.long, device=state.world.device)

    def epoch_start(self, state: State) -> None:
        cycle, is_within = divmod(state.epoch - self._config.start_epoch, self._config.cycle)
        if not is_within and cycle > 0 and state.epoch <= self._config.end_epoch:
            self._label(state, admitted_share(state.epoch, self._config))
            if self._config.reinitialize:
                restart(state, seed_of_member(state.seed, cycle))
        if len(self._admitted):
            self._draw(state)

    def batch_ready(self, state: State) -> None:
        if self._batches:
            images, labels = self._batches.pop()
            state.images, state.labels = torch.cat([state.images, images]), torch.cat([state.labels, labels])

    def trial_end(self, state: State) -> None:
        state.notes["self_training"] = self._log

    def _label(self, state: State, share: float) -> None:
        confidence, guesses = probabilities(state.network, self._pool.images(), state).max(1)
        self._admitted = admit(confidence, share)
        self._labels = guesses[self._admitted]
        right = self._pool.correct(self._admitted, self._labels)
        self._log.append({"epoch": state.epoch + 1, "admitted": len(self._admitted), "right": right})

    def _draw(self, state: State) -> None:
        count = unlabelled_per_step(state, self._config.ratio)
        which = self._pool.draw(len(self._admitted), count * state.steps_per_epoch)
        images = self._pool.augmented(self._admitted[which], self._config.views)
        self._batches = list(zip(images.split(count), self._labels[which].split(count), strict=True))
