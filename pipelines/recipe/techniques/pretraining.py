"""Training on another task first."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pipelines.recipe.config import NonNegative, Positive
from pipelines.recipe.networks import ConvNet, Network
from pipelines.recipe.techniques.technique import Technique
from pipelines.recipe.training import Augment


class Pretraining(Technique):
    """What every pretraining has: a loop of its own before the training, in the lap `pretrain`."""

    needs_float32 = True
    computes_beside = True

    epochs: Positive = 5.0
    """passes over its images"""
    lr: Positive = 2e-3
    """peak learning rate of AdamW, reached after a tenth of the steps; falls to zero in a straight line"""
    batch_size: Annotated[int, Field(ge=1)] = 128
    """images per step"""
    weight_decay: NonNegative = 0.01
    """decoupled weight decay"""

    def shortened(self, steps_per_epoch: int) -> Self:
        return self.model_copy(update={"epochs": 1e-9})  # a single step


class Pretrained(Pretraining):
    """Train the network on another task first, then put a new last layer on it."""

    acts_once = True
    needs_features = True
    single_process_only = True

    source: Literal["digits"] = "digits"
    """the other task: scikit-learn's 8 x 8 digits, enlarged"""
    views: Augment = Augment()
    """their augmentation"""


class MaskedImage(Pretraining):
    """Pretrain without labels by filling in hidden patches, on all training images (He et al. 2022)."""

    acts_once = True
    needs_features = True
    single_process_only = True
    needs_unlabelled = True

    patch: Annotated[int, Field(ge=1)] = 4
    """side of a patch in pixels"""
    share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """of the patches that are hidden"""


class Contrastive(Pretraining):
    """Pretrain without labels by momentum contrast, on all training images: MoCo (He et al. 2020)."""

    acts_once = True
    needs_features = True
    single_process_only = True
    needs_unlabelled = True

    views: Augment
    """augmentation from which the two views of an image are drawn"""
    features: Annotated[int, Field(ge=2)] = 64
    """size of the embedding in which two views are compared"""
    queue: Annotated[int, Field(ge=1)] = 4096
    """keys of earlier images: the negatives of a query"""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """share of the key encoder that stays at each step"""
    temperature: Positive = 0.1
    """divisor of the similarities"""

    @model_validator(mode="after")
    def _has_room_for_a_step(self) -> Self:
        if self.queue < self.batch_size:
            raise ValueError(
                f"queue={self.queue} has no room for the {self.batch_size} keys of a step: set queue={self.batch_size} "
                "or more"
            )
        return self


class Distillation(Pretraining):
    """Train a larger network on the same labelled images first, and learn from it too (Hinton et al. 2015)."""

    own_objective = True
    needs_features = True
    single_process_only = True

    teacher: Network = ConvNet(name="convnet", widths=(32, 64), kernel_size=5)
    """the larger network"""
    temperature: Positive = 4.0
    """by which the logits are divided"""
    weight: Annotated[float, Field(ge=0, le=1)] = 0.9
    """share of the teacher's logits in the loss; the labels have the rest"""
    feature_weight: NonNegative = 0.0
    """of the distance between the features of the two, through a trained translation (Romero et al. 2015)"""
