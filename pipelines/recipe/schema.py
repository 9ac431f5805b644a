"""The recipe: everything that a training is, each knob documented at its definition."""

import hashlib
import json
import math
from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipelines.recipe.knobs import Knobs
from pipelines.recipe.loaders import Loader, Resident
from pipelines.recipe.networks import Network
from pipelines.recipe.optimizers import SCALE_FREE, Optimizer
from pipelines.recipe.schedules import Constant, Schedule
from pipelines.recipe.techniques import Techniques
from pipelines.recipe.training import Augment, Data, Evaluation, Initialization, Loss

HASH_VERSION = 1
"""Goes into every recipe hash: raise it when a default or the meaning of a knob changes."""

DESCRIPTIVE = {"title", "trick", "source"}
"""Knobs that say something about the recipe and change nothing in it."""


class Recipe(Knobs):
    """One training recipe."""

    title: Annotated[str, Field(max_length=100)]
    """one line for lists and tables"""
    trick: Annotated[str, Field(max_length=60)] | None = None
    """what it does differently from its base, in a few words"""
    source: str | None = None
    """where the recipe comes from"""
    data: Data
    """what it trains on"""
    target: Annotated[float, Field(gt=0, lt=1)]
    """accuracy to reach on the test set, as a fraction"""
    epochs: Annotated[float, Field(gt=0)]
    """passes over the training images; a fraction ends within the last epoch"""
    batch_size: Annotated[int, Field(ge=1)]
    """images per optimizer step, over all processes together"""
    accumulation: Annotated[int, Field(ge=1)] = 1
    """micro-batches in which a process goes through its share of a batch, for less memory: their gradients add up to
    the batch's, while norms see one micro-batch at a time"""
    drop_last: bool = True
    """leave out the images of an epoch that do not fill a batch"""
    augment: Augment = Augment()
    """what is done to the training images"""
    loader: Loader = Resident(name="resident")
    """who does it, where, and how many at a time"""
    model: Network
    """the network"""
    initialization: Initialization = Initialization()
    """where the weights start"""
    channels_last: bool = True
    """keep images and weights in NHWC order in memory, which the fast convolutions of GPUs and CPUs want"""
    precision: Literal["float32", "autocast", "half"] = "float32"
    """float32 throughout; or autocast to bfloat16; or half precision for weights and activations with the norms in
    float32"""
    half_dtype: Literal["auto", "float16", "bfloat16"] = "auto"
    """what `half` is: by itself float16 on CUDA, as in the published records, and bfloat16 on a CPU"""
    compile: bool = False
    """torch.compile the network; the compilation has a lap of its own"""
    kernels: Literal["reference", "fast"] = "fast"
    """the operations of `kernels/`: what is fastest on CUDA for the tensors at hand, or everywhere the plain PyTorch
    that defines them, as on a CPU"""
    loss: Loss = Loss()
    """the loss"""
    optimizer: Optimizer
    """the optimizer"""
    schedule: Schedule = Constant(name="constant")
    """factor on the learning rate, a pure function of the epochs done so far"""
    evaluation: Evaluation = Evaluation()
    """how accuracy is measured"""
    techniques: Techniques = Techniques()
    """what else happens during the training"""

    @model_validator(mode="after")
    def _makes_sense(self) -> "Recipe":
        if self.loss.reduction == "sum" and isinstance(self.optimizer, SCALE_FREE):
            raise ValueError(
                f"loss.reduction=sum does nothing under optimizer.name={self.optimizer.name}, which divides the "
                "gradient's scale out; say loss.reduction=mean"
            )
        if self.loader.name == "torchvision":
            self._torchvision_can()
        whitening = getattr(self.model, "whitening", None)
        if self.techniques.whitening_bias and not (whitening and whitening.bias):
            raise ValueError("techniques.whitening_bias needs model.whitening.bias=true: there is no such bias")
        if progressive := self.techniques.progressive_dropout:
            rates = self.model.dropout
            if not any(dict(rates).values()):
                raise ValueError("techniques.progressive_dropout needs a rate to go to: say model.dropout={head: 0.5}")
            for place, rate in progressive.start:
                if rate and not getattr(rates, place):
                    raise ValueError(
                        f"techniques.progressive_dropout.start.{place}={rate} does nothing without a rate to go to: "
                        f"say model.dropout.{place}=0.5"
                    )
        if self.techniques.early_stopping and not self.data.holds_out:
            raise ValueError(
                "techniques.early_stopping watches the accuracy on held-out images, and there are none: say "
                "data.validation=0.1"
            )
        if self.techniques.swa and self.loader.name == "torchvision":
            raise ValueError(
                "techniques.swa goes through an epoch's batches once more, and loader.name=torchvision would draw "
                "others: say loader={name: resident} or {name: bulk}"
            )
        ensemble = self.techniques.ensemble
        if ensemble and ensemble.members > self.epochs:
            raise ValueError(
                f"techniques.ensemble trains {ensemble.members} members, and epochs={self.epochs:g} is less"
            )
        if self.precision == "autocast" and self.half_dtype == "float16":
            raise ValueError(
                "half_dtype=float16 does not go with precision=autocast, which uses bfloat16 because that needs no "
                "loss scaling; say half_dtype=auto or precision=half"
            )
        return self

    def _torchvision_can(self) -> None:
        """ValueError for augmentation that the per-image loader does not have."""
        changed = self.augment.model_dump(exclude_defaults=True).keys() - {"crop", "flip", "cutout"}
        if changed:
            raise ValueError(f"loader.name=torchvision has no augment.{min(changed)}; say loader={{name: bulk}}")
        if self.augment.flip == "alternating" and self.loader.choices == "per_sample":
            raise ValueError(
                "augment.flip=alternating is not drawn image by image; say loader.choices=bulk or augment.flip=random"
            )

    @property
    def hash(self) -> str:
        """12 hexadecimal digits that change when and only when the training changes.

        Knobs at their defaults are left out, so that a knob added later does not make old records incomparable.
        """
        resolved = self.model_dump(mode="json", exclude_defaults=True, exclude=DESCRIPTIVE)
        canonical = json.dumps([HASH_VERSION, resolved], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]

    def steps_per_epoch(self, images: int) -> int:
        """Optimizer steps in an epoch over so many images. ValueError when there is none."""
        steps = images // self.batch_size if self.drop_last else math.ceil(images / self.batch_size)
        if steps == 0:
            raise ValueError(
                f"batch_size={self.batch_size} is more than the {images} training images, and drop_last leaves out "
                f"what does not fill a batch: say batch_size={images} or less, or drop_last=false"
            )
        return steps

    def steps(self, images: int) -> int:
        """Optimizer steps in the whole training over so many images."""
        steps = self.epochs * self.steps_per_epoch(images)
        return max(1, math.ceil(round(steps, 6)))  # 1.1 epochs of 100 steps are 110, in floating point a bit more

    def samples(self, steps: int, images: int) -> int:
        """Training images seen in the first so many steps, each epoch over so many images."""
        per_epoch = self.steps_per_epoch(images)
        epochs, rest = divmod(steps, per_epoch)
        whole = per_epoch * self.batch_size if self.drop_last else images
        return epochs * whole + min(rest * self.batch_size, whole)
