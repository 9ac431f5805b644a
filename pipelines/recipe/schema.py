"""The recipe: a full description of one training. Each option is documented at its definition."""

import hashlib
import json
import math
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field

from pipelines.recipe.config import Config
from pipelines.recipe.loaders import Loader, Resident
from pipelines.recipe.networks import Network
from pipelines.recipe.optimizers import Optimizer
from pipelines.recipe.parallel import Parallel, Scaling
from pipelines.recipe.schedules import Constant, Schedule
from pipelines.recipe.techniques import Techniques
from pipelines.recipe.training import Augment, Data, Evaluation, Initialization, Loss

HASH_VERSION = 1
"""Goes into every recipe hash: raise it when a default or the meaning of an option changes."""

RENAMED = {
    "trick": "change",
    "parallel.engine": "parallel.strategy",
    "parallel.exchange": "parallel.sync_gradients",
}
"""Earlier names of options, which recipes may still use, and today's. Both are in the same group."""

DESCRIPTIVE = {"title", "change", "source", "table"}
"""Options that describe the recipe and change nothing in it."""

Group = TypeVar("Group", bound=Config)


class Recipe(Config):
    """One training recipe."""

    title: Annotated[str, Field(max_length=100)]
    """one line for lists and tables"""
    change: Annotated[str, Field(max_length=60)] | None = None
    """what it does differently from its base, in a few words"""
    source: str | None = None
    """where the recipe comes from"""
    table: Literal["ladder", "techniques", "loaders", "strategies"] | None = None
    """kind of table in which runs of such recipes are shown together; null: a row in the summary"""
    data: Data
    """the data set"""
    target: Annotated[float, Field(gt=0, lt=1)] | None
    """accuracy to reach on the test set, as a fraction; null: none, what counts is throughput"""
    epochs: Annotated[float, Field(gt=0)]
    """passes over the training images; a fraction ends within the last epoch"""
    batch_size: Annotated[int, Field(ge=1)]
    """images, or sequences of tokens, per optimizer step, over all processes together"""
    accumulation: Annotated[int, Field(ge=1)] = 1
    """micro-batches in which a process goes through its share of a batch, for less memory: their gradients add up to
    the batch's, while norms see one micro-batch at a time"""
    drop_last: bool = True
    """leave out the images of an epoch that do not fill a batch"""
    augment: Augment = Augment()
    """augmentation of the training images"""
    loader: Loader = Resident(name="resident")
    """how images are loaded and augmented"""
    model: Network
    """the network"""
    initialization: Initialization = Initialization()
    """initial weights"""
    channels_last: bool = True
    """keep images and weights in NHWC order in memory, which the fast convolutions of GPUs and CPUs want"""
    precision: Literal["float32", "autocast", "half"] = "float32"
    """float32 throughout; or autocast to bfloat16; or half precision for weights and activations with the norms in
    float32"""
    float32_precision: Literal["ieee", "tf32"] = "ieee"
    """what GPUs from Ampere on multiply float32 numbers in: `ieee`, float32; `tf32`, with 10 bits of their mantissas,
    which is torch's own default for convolutions"""
    half_dtype: Literal["auto", "float16", "bfloat16"] = "auto"
    """what `half` is; `auto`: float16 on CUDA, as in the published records, and bfloat16 on a CPU"""
    compile: bool | Literal["auto"] = False
    """torch.compile the network; auto: on CUDA. The warm-up compiles, in the lap `compile`"""
    compile_mode: Literal["default", "reduce-overhead", "max-autotune"] = "default"
    """the mode of torch.compile; the others record CUDA graphs on a GPU, which do not go with accumulated gradients"""
    kernels: Literal["auto", "reference", "fast"] = "auto"
    """which versions of the operations in `kernels/` run. `reference`: the plain PyTorch that defines them. `fast`:
    versions with fewer passes over memory, some of them in Triton; on CPUs with AVX2 or AVX-512 also C++ for
    augmentation and for the blocks of airnet and davidnet, which is compiled at its first use. `auto`: what is
    known to be the fastest on the device (`kernels/choice.py`), the C++ only where `python -m kernels.cpu.build` or
    `fast` has compiled it. All give the same up to rounding (docs/cpu.md)"""
    loss: Loss = Loss()
    """the loss"""
    optimizer: Optimizer
    """the optimizer"""
    schedule: Schedule = Constant(name="constant")
    """factor on the learning rate, a pure function of the epochs done so far"""
    scaling: Scaling | None = None
    """how the learning rate changes with the batch size; null: `optimizer.lr` is for this batch size"""
    parallel: Parallel = Parallel()
    """how several processes train together"""
    evaluation: Evaluation = Evaluation()
    """how accuracy is measured"""
    techniques: Techniques = Techniques()
    """what else happens during the training"""

    def with_batch(self, batch_size: int) -> "Recipe":
        """The recipe at another batch size, its learning rate scaled as it says, or linearly with a gradual warm-up.

        An average of the weights spans as many images as before: else the fewer steps of a larger batch would leave the
        initial weights in it (Busbridge et al. 2023, arXiv 2307.13813).
        """
        scaling, techniques = self.scaling or Scaling(reference_batch=self.batch_size), self.techniques
        if ema := techniques.ema:
            momentum = ema.momentum ** (batch_size / self.batch_size)
            techniques = techniques.model_copy(update={"ema": ema.model_copy(update={"momentum": momentum})})
        return self.model_copy(update={"batch_size": batch_size, "scaling": scaling, "techniques": techniques})

    @property
    def settings(self) -> dict[str, object]:
        """Every option as a file would have it. Options that are null by default and stay so are left out."""
        changed = self.model_dump(mode="json", exclude_defaults=True)
        return _without_default_nulls(self.model_dump(mode="json"), changed)

    @property
    def hash(self) -> str:
        """12 hexadecimal digits that change when and only when the training changes.

        Options at their defaults are left out, and the others have their earliest names, so that neither a new option
        nor a new name makes old records incomparable.
        """
        elsewhere = {"data": {"path"}}  # the same data in another place are the same training
        resolved = self.model_dump(
            mode="json", exclude_defaults=True, exclude=dict.fromkeys(DESCRIPTIVE, True) | elsewhere
        )
        for old, new in RENAMED.items():
            rename(resolved, new, old)
        canonical = json.dumps([HASH_VERSION, resolved], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]

    @property
    def shares_augmentation(self) -> bool:
        """Whether all processes draw the augmentation from one stream."""
        return self.parallel.augmentation == "shared" and self.loader.draws_in_bulk

    def groups(self, *kinds: type[Group]) -> dict[str, Group]:
        """The groups of options of these kinds by their keys: the recipe's own and those of its techniques."""
        owners: dict[str, Config] = {"": self}
        owners |= {f"techniques.{name}.": technique for name, technique in self.techniques.chosen().items()}
        return {
            f"{prefix}{key}": value
            for prefix, owner in owners.items()
            for key, value in owner
            if isinstance(value, kinds)
        }

    def steps_per_epoch(self, images: int) -> int:
        """Optimizer steps in an epoch over so many images. ValueError when there is none."""
        steps = images // self.batch_size if self.drop_last else math.ceil(images / self.batch_size)
        if steps == 0:
            raise ValueError(
                f"batch_size={self.batch_size} is more than the {images} training images, and drop_last leaves out "
                f"what does not fill a batch: set batch_size={images} or less, or drop_last=false"
            )
        return steps

    def steps(self, images: int) -> int:
        """Optimizer steps in the whole training over so many images."""
        return whole_steps(self.epochs * self.steps_per_epoch(images))

    def samples(self, steps: int, images: int) -> int:
        """Training images seen in the first so many steps, each epoch over so many images."""
        per_epoch = self.steps_per_epoch(images)
        epochs, rest = divmod(steps, per_epoch)
        whole = per_epoch * self.batch_size if self.drop_last else images
        return epochs * whole + min(rest * self.batch_size, whole)


def whole_steps(steps: float) -> int:
    """Rounded up, at least 1. 1.1 epochs of 100 steps are 110 steps, in floating point a bit more."""
    return max(1, math.ceil(round(steps, 6)))


def _without_default_nulls(whole: dict[str, Any], changed: dict[str, Any]) -> dict[str, object]:
    """Keeps a null that is in `changed`."""
    kept: dict[str, object] = {}
    for key, value in whole.items():
        if isinstance(value, dict):
            inner = changed.get(key)
            kept[key] = _without_default_nulls(value, inner if isinstance(inner, dict) else {})
        elif value is not None or key in changed:
            kept[key] = value
    return kept


def rename(settings: dict[str, object], old: str, new: str) -> bool:
    """Give an option another name within its group, in place; whether it was there. ValueError if both names are."""
    *groups, key = old.split(".")
    group: object = settings
    for name in groups:
        group = group.get(name) if isinstance(group, dict) else None
    if not isinstance(group, dict) or key not in group:
        return False
    name = new.rpartition(".")[2]
    if name in group:
        raise ValueError(f"{old} and {new} are names of one option: give one of the two")
    group[name] = group.pop(key)
    return True
