"""Training on images without labels."""

from typing import Annotated

from pydantic import Field, model_validator

from pipelines.recipe.config import NonNegative, Positive, Share
from pipelines.recipe.techniques.technique import Technique
from pipelines.recipe.training import Augment


class SelfTraining(Technique):
    """Learn from the network's own labels of the unlabelled images (Lee 2013), the most certain ones first
    (Cascante-Bonilla et al. 2021). The admitted share rises linearly from 0 to `share`."""

    needs_unlabelled = True
    computes_beside = True

    start_epoch: Annotated[int, Field(ge=0)] = 1
    """epoch, from 0, up to which none is admitted"""
    end_epoch: Annotated[int, Field(ge=1)] = 5
    """epoch in which `share` is reached, and which labels them for the last time"""
    share: Share = 1.0
    """of the unlabelled images that is admitted in the end"""
    cycle: Annotated[int, Field(ge=1)] = 1
    """epochs from one labelling to the next, a divisor of those from the start to the end"""
    ratio: Positive = 3.0
    """pseudo-labelled images in a step for each labelled one"""
    views: Augment = Augment()
    """their augmentation; the labels are made without it (noisy student, Xie et al. 2020)"""
    reinitialize: bool = False
    """draw the weights anew after each labelling, so that early mistakes are forgotten"""

    @model_validator(mode="after")
    def _ends_with_a_cycle(self) -> "SelfTraining":
        if self.end_epoch <= self.start_epoch:
            raise ValueError(
                f"end_epoch={self.end_epoch} is not after start_epoch={self.start_epoch}: give a later one"
            )
        epochs = self.end_epoch - self.start_epoch
        if epochs % self.cycle:
            raise ValueError(
                f"cycle={self.cycle} does not divide the {epochs} epochs from start_epoch={self.start_epoch} to "
                f"end_epoch={self.end_epoch}: give a divisor"
            )
        return self

    @property
    def redraws_by(self) -> str | None:
        return "reinitialize=true" if self.reinitialize else None


class FixMatch(Technique):
    """Learn on strongly augmented unlabelled images what the network is sure of on weakly augmented ones
    (Sohn et al. 2020)."""

    own_objective = True
    needs_unlabelled = True
    computes_beside = True

    ratio: Positive = 3.0
    """unlabelled images in a step for each labelled one"""
    threshold: Annotated[float, Field(ge=0, lt=1)] = 0.95
    """probability of the likeliest class from which an image counts"""
    weight: Positive = 1.0
    """of the unlabelled images' loss"""
    weak: Augment = Augment()
    """the weak augmentation of the unlabelled images"""
    strong: Augment
    """the strong one"""


class MeanTeacher(Technique):
    """Train the network to agree with a moving average of its own weights on other views of unlabelled images
    (Tarvainen & Valpola 2017). The average is what is evaluated."""

    evaluates_other_weights = True
    averages_weights = True
    needs_float32 = True
    own_objective = True
    needs_unlabelled = True
    computes_beside = True

    ratio: Positive = 3.0
    """unlabelled images in a step for each labelled one"""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """share of the average that stays at each step"""
    weight: Positive = 10.0
    """of the disagreement, when it is ramped up"""
    views: Augment
    """augmentation from which the teacher's and the student's views of an image are drawn"""
    ramp_up_epochs: NonNegative = 3.0
    """epochs over which that weight rises"""

    @property
    def weight_copies(self) -> int:
        return 1
