"""The knobs of the techniques that learn from more than the labelled images: unlabelled ones, other tasks, teachers."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipelines.recipe.knobs import Knobs, NonNegative, Positive
from pipelines.recipe.networks import ConvNet, Network
from pipelines.recipe.training import Augment

Share = Annotated[float, Field(gt=0, le=1)]


class SelfTraining(Knobs):
    """Learn from the network's own labels of the unlabelled images (Lee 2013), the most certain ones first
    (Cascante-Bonilla et al. 2021). The admitted share rises linearly from 0 to `share`."""

    start_epoch: Annotated[int, Field(ge=0)] = 1
    """epoch, from 0, up to which none is admitted"""
    end_epoch: Annotated[int, Field(ge=1)] = 5
    """epoch in which `share` is reached, and which labels them for the last time"""
    share: Share = 1.0
    """of the unlabelled images that is admitted in the end"""
    cycle: Annotated[int, Field(ge=1)] = 1
    """epochs from one labelling to the next"""
    ratio: Positive = 3.0
    """pseudo-labelled images in a step for each labelled one"""
    views: Augment = Augment()
    """their augmentation, which the labels did not see (noisy student, Xie et al. 2020)"""
    reinitialize: bool = False
    """draw the weights anew after each labelling, so that early mistakes are forgotten"""

    @model_validator(mode="after")
    def _ends_after_its_start(self) -> "SelfTraining":
        if self.end_epoch <= self.start_epoch:
            raise ValueError(
                f"end_epoch={self.end_epoch} is not after start_epoch={self.start_epoch}: give a later one"
            )
        return self


class FixMatch(Knobs):
    """Learn on strongly augmented unlabelled images what the network is sure of on weakly augmented ones
    (Sohn et al. 2020)."""

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


class MeanTeacher(Knobs):
    """Agree with a moving average of oneself on other views of unlabelled images (Tarvainen & Valpola 2017). The
    average is what is evaluated."""

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


class Pretraining(Knobs):
    """What every pretraining has: a loop of its own before the training, in the lap `pretrain`."""

    epochs: Positive = 5.0
    """passes over its images"""
    lr: Positive = 2e-3
    """peak learning rate of AdamW, reached after a tenth of the steps; falls to zero in a straight line"""
    batch_size: Annotated[int, Field(ge=1)] = 128
    """images per step"""
    weight_decay: NonNegative = 0.01
    """decoupled weight decay"""


class Pretrained(Pretraining):
    """Train the network on another task first, then put a new last layer on it."""

    source: Literal["digits"] = "digits"
    """the other task: scikit-learn's 8 x 8 digits, enlarged"""
    views: Augment = Augment()
    """their augmentation"""


class MaskedImage(Pretraining):
    """Pretrain without labels by filling in hidden patches, on all training images (He et al. 2022)."""

    patch: Annotated[int, Field(ge=1)] = 4
    """side of a patch in pixels"""
    share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """of the patches that are hidden"""


class Contrastive(Pretraining):
    """Pretrain without labels by momentum contrast, on all training images: MoCo (He et al. 2020)."""

    views: Augment
    """augmentation from which the two views of an image are drawn"""
    features: Annotated[int, Field(ge=2)] = 64
    """numbers in which two views are compared"""
    queue: Annotated[int, Field(ge=1)] = 4096
    """keys of earlier images that a query is told from"""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """share of the key encoder that stays at each step"""
    temperature: Positive = 0.1
    """by which similarities are divided"""


class Distillation(Pretraining):
    """Train a larger network on the same labelled images first, and learn from it too (Hinton et al. 2015)."""

    teacher: Network = ConvNet(name="convnet", widths=(32, 64), kernel_size=5)
    """the larger network"""
    temperature: Positive = 4.0
    """by which the logits are divided"""
    weight: Annotated[float, Field(ge=0, le=1)] = 0.9
    """share of the teacher's logits in the loss; the labels have the rest"""
    feature_weight: NonNegative = 0.0
    """of the distance between the features of the two, through a trained translation (Romero et al. 2015)"""


class LinearProbe(Knobs):
    """Train the last layer alone, on the features of a backbone that stays as it is; it must have no norms, whose
    statistics would move."""


class LayerScales(Knobs):
    """Note in the record how large activations and gradients are in each layer before the first step."""

    images: Annotated[int, Field(ge=1)] = 256
    """labelled images in the batch that is looked at"""
