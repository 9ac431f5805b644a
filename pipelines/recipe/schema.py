"""The recipe: everything that a training is, each knob documented at its definition."""

import hashlib
import json
import math
from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipelines.recipe.contradictions import RULES
from pipelines.recipe.knobs import Knobs
from pipelines.recipe.loaders import Loader, Resident
from pipelines.recipe.networks import Network
from pipelines.recipe.optimizers import Optimizer
from pipelines.recipe.parallel import Parallel, Scaling
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
    kernels: Literal["reference", "fast"] = "reference"
    """the operations of `kernels/`: the plain PyTorch that defines them; or versions with fewer passes over memory: on
    CUDA of all of them, some in Triton; on a CPU of augmentation and whitening and, where the CPU multiplies bfloat16,
    of the blocks of airnet and davidnet, in C++ that is compiled once"""
    loss: Loss = Loss()
    """the loss"""
    optimizer: Optimizer
    """the optimizer"""
    schedule: Schedule = Constant(name="constant")
    """factor on the learning rate, a pure function of the epochs done so far"""
    scaling: Scaling | None = None
    """the learning rate of a batch of another size than it was found for; null: `optimizer.lr` is for this batch"""
    parallel: Parallel = Parallel()
    """how several processes share a step"""
    evaluation: Evaluation = Evaluation()
    """how accuracy is measured"""
    techniques: Techniques = Techniques()
    """what else happens during the training"""

    @model_validator(mode="after")
    def _makes_sense(self) -> "Recipe":
        for rule in RULES:
            if complaint := rule(self):
                raise ValueError(complaint)
        return self

    def with_batch(self, batch_size: int) -> "Recipe":
        """The recipe at another batch size, its learning rate scaled as it says, or linearly with a gradual warm-up."""
        scaling = self.scaling or Scaling(reference_batch=self.batch_size)
        return self.model_copy(update={"batch_size": batch_size, "scaling": scaling})

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
