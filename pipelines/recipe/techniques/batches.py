"""What the batches are made of."""

import math
from typing import Annotated, Self

from pydantic import Field, model_validator

from pipelines.recipe.config import NonNegative, Positive
from pipelines.recipe.networks import Network
from pipelines.recipe.techniques.technique import Technique


class BatchSelection(Technique):
    """Train on the part of each batch that a small proxy network finds hardest (airbench96_faster). The proxy is
    trained on the same batches, with the recipe's optimizer, schedule and loss."""

    acts_once = True
    single_process_only = True

    keep: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """share of each batch that the network is trained on"""
    every: Annotated[int, Field(ge=1)] = 4
    """the proxy steps on one of so many batches; of the others it only chooses the images"""
    proxy: Network
    """the proxy network"""


class GrowingBatch(Technique):
    """Let the gradients of several batches add up before the optimizer steps, and of more later on: a batch that grows
    (Smith et al. 2018)."""

    acts_once = True
    takes_tokens = True

    epochs: tuple[NonNegative, ...]
    """epochs done from which on the number changes"""
    batches: tuple[Annotated[int, Field(ge=2)], ...]
    """how many batches make a step from then on"""

    @model_validator(mode="after")
    def _grows(self) -> "GrowingBatch":
        if len(self.epochs) != len(self.batches) or not self.epochs:
            raise ValueError("techniques.growing_batch needs as many epochs as batches, and one at least")
        if list(self.epochs) != sorted(set(self.epochs)) or list(self.batches) != sorted(set(self.batches)):
            raise ValueError(f"epochs={list(self.epochs)} and batches={list(self.batches)} must both rise")
        return self

    @property
    def warm_up_steps(self) -> int:
        return 3  # it steps with one batch, then waits for another, then steps with both

    def shortened(self, steps_per_epoch: int) -> Self:
        return self.model_copy(update={"epochs": (1 / steps_per_epoch,), "batches": self.batches[:1]})


class Interval(Technique):
    """What the techniques share that act on the batches of some epochs."""

    weight_access = "none"

    from_epoch: NonNegative = 0.0
    """epochs after which it begins"""
    until: Positive | None = None
    """epochs after which it ends; null: it stays to the end"""

    @model_validator(mode="after")
    def _begins_before_it_ends(self) -> "Interval":
        if self.until is not None and self.until <= self.from_epoch:
            raise ValueError(f"until={self.until:g} must be more than from_epoch={self.from_epoch:g}")
        return self

    @property
    def warm_up_steps(self) -> int:
        return 2  # with a batch as it is, and with one that is changed

    def shortened(self, steps_per_epoch: int) -> Self:
        if not self.from_epoch and self.until is None:
            return self
        return self.model_copy(update={"from_epoch": 1 / steps_per_epoch, "until": None})


class DataPruning(Interval):
    """Leave out of each batch some of the images that were learnt best: those whose loss was lowest when they were last
    trained on. The rest of these count for more, so that the expected gradient stays the same (InfoBatch, Qin et al.
    2024). The number of steps stays the same."""

    acts_once = True
    single_process_only = True

    easy: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """share of each batch that counts as learnt best"""
    drop: Annotated[float, Field(gt=0, le=1)] = 0.5
    """share of these images that is left out, drawn anew for each batch; at 1 the expected gradient is that of the
    other images"""
    from_epoch: Annotated[float, Field(ge=1)] = 1.0
    """epochs after which it begins: at least one, in which the loss of each image is measured"""

    def sizes(self, images: int) -> tuple[int, int, int]:
        """Of a batch of so many images: how many are trained on whatever happens, how many are learnt best, and how
        many of these are trained on."""
        easy = min(round(self.easy * images), images - 1)
        return images - easy, easy, easy - round(self.drop * easy)

    def kept(self, images: int) -> float:
        """The share of a batch of so many images that is trained on."""
        hard, _, rest = self.sizes(images)
        return (hard + rest) / images

    def acts_at(self, step: int, steps_per_epoch: int) -> bool:
        """Whether the batch of a step is pruned."""
        end = math.inf if self.until is None else round(self.until * steps_per_epoch)
        return round(self.from_epoch * steps_per_epoch) <= step < end

    @property
    def warm_up_steps(self) -> int:
        return 3

    def shortened(self, steps_per_epoch: int) -> Self:
        return self.model_copy(update={"from_epoch": 2 / steps_per_epoch, "until": None})


class MixUp(Interval):
    """Train on weighted means of two images and of their labels (Zhang et al. 2018)."""

    alpha: Positive = 0.2
    """the weight of a batch is drawn from the Beta distribution of which both parameters are this"""


class CutMix(Interval):
    """Paste a rectangle of another image into each, and mix the labels by area (Yun et al. 2019)."""

    alpha: Positive = 1.0
    """the area of a batch's rectangles is drawn from the Beta distribution of which both parameters are this"""
    size: Annotated[int, Field(ge=1)] | None = None
    """side in pixels of a square, in place of a drawn area: 3 in hlb-CIFAR10; null: draw it"""
