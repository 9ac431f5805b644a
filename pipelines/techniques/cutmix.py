"""CutMix: a rectangle of another image is pasted into each, and labels are mixed by area (Yun et al. 2019,
arXiv 1905.04899). With a fixed square as in hlb-CIFAR10."""

import torch
from torch import Tensor

from pipelines.events import State
from pipelines.recipe import techniques
from pipelines.techniques.mixup import generator_of, is_on, soft_labels


def rectangles(top: Tensor, left: Tensor, height: int, width: int, size: tuple[int, int]) -> Tensor:
    """Where (N,) rectangles lie, of one height and width, within images of `size`: bool (N, size).

    A rectangle may hang over the border: `top` and `left` may be negative.
    """
    rows, columns = (torch.arange(side, device=top.device) for side in size)
    inside_rows = (rows >= top[:, None]) & (rows < top[:, None] + height)
    inside_columns = (columns >= left[:, None]) & (columns < left[:, None] + width)
    return inside_rows[:, :, None] & inside_columns[:, None, :]


def cutmix(images: Tensor, labels: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Where the (N, H, W) mask is true, each image shows the one before it in the batch, and has as much of its label.

    images: (N, C, H, W); labels: (N, classes) probabilities. Both are left as they are; the new images lie in memory as
    the old ones do.
    """
    share = mask.flatten(1).float().mean(1, keepdim=True)
    return torch.where(mask[:, None], images.roll(1, 0), images), labels.lerp(labels.roll(1, 0), share)


class CutMix:
    """Pastes in every batch; each image gets its rectangle at a place of its own.

    The area of a batch's rectangles is the same on all processes. A process pastes its own images into each other, so
    that another number of processes makes other pairs.
    """

    def __init__(self, config: techniques.CutMix) -> None:
        self._config = config
        self._is_on = is_on(config)

    def trial_start(self, state: State) -> None:
        self._areas, places = (generator_of(state.seed, rank, "cutmix") for rank in (0, state.world.data.rank))
        self._areas.integers(2**63)  # as in the records so far, where one generator drew the seed of the places too
        seed = int(places.integers(2**63))
        self._places = torch.Generator(state.world.device).manual_seed(seed)
        self._classes = state.network.head.out_features

    def batch_ready(self, state: State) -> None:
        if self._is_on(state):
            count, _, height, width = state.images.shape
            mask = self._draw(count, height, width)
            state.images, state.labels = cutmix(state.images, soft_labels(state.labels, self._classes), mask)

    def _draw(self, count: int, height: int, width: int) -> Tensor:
        """Squares wholly inside the image; or rectangles of the image's shape around any of its pixels."""
        if self._config.size is not None:
            side = min(self._config.size, height, width)
            top, left = self._integers(height - side + 1, count), self._integers(width - side + 1, count)
            return rectangles(top, left, side, side, (height, width))
        side = self._areas.beta(self._config.alpha, self._config.alpha) ** 0.5
        rows, columns = round(side * height), round(side * width)
        top, left = self._integers(height, count) - rows // 2, self._integers(width, count) - columns // 2
        return rectangles(top, left, rows, columns, (height, width))

    def _integers(self, high: int, count: int) -> Tensor:
        return torch.randint(high, (count,), generator=self._places, device=self._places.device)
