"""The loaders: what augments the training images, where, and how many at a time."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from pipelines.recipe.config import Config


class LoaderConfig(Config):
    """What every loader has. The class variables state what is true of the loader itself."""

    name: str
    """the loader"""

    package: ClassVar[str | None] = None
    """the package that it needs, which comes with the extra of the loader's name; None: none"""
    augmentations: ClassVar[frozenset[str] | None] = None
    """the options of `augment` that it has; None: all of them"""
    repeats_epochs: ClassVar[bool] = True
    """going through an epoch's batches again gives the same images"""
    on_device: ClassVar[bool] = False
    """the training set lies on the training device"""
    augments_epochs: ClassVar[bool] = False
    """it augments a whole epoch at once, which then lies beside the training set"""

    @property
    def padded_copy(self) -> Literal["none", "bytes", "values"]:
        """What it keeps of the padded images: nothing, their bytes, or the values that the network gets."""
        return "values"

    @property
    def draws_in_bulk(self) -> bool:
        """Whether the augmentation of an epoch is drawn before its first image is augmented."""
        return True


class Resident(LoaderConfig):
    """The training set lies preprocessed on the training device. A whole epoch is augmented at once there."""

    name: Literal["resident"]
    """the loader"""

    on_device = True
    augments_epochs = True


class Bulk(LoaderConfig):
    """The training set lies preprocessed in host memory. A whole epoch is augmented at once there; its batches are
    copied to the training device one by one."""

    name: Literal["bulk"]
    """the loader"""

    augments_epochs = True


class Torchvision(LoaderConfig):
    """Image by image on the CPU, through torchvision's transforms (v2) and torch's DataLoader.
    It supports crop, flip and cutout."""

    name: Literal["torchvision"]
    """the loader"""
    workers: Annotated[int, Field(ge=0)] = 2
    """processes, for each process that trains, that prepare batches ahead; 0: the training process does it itself"""
    preprocess: Literal["per_sample", "once"] = "per_sample"
    """pad and normalize an image whenever it is drawn, or all of them once before the training, in host memory"""
    choices: Literal["per_sample", "bulk"] = "per_sample"
    """draw random numbers whenever an image is drawn, or for all images at the start of an epoch. `per_sample` draws
    on each process for itself, regardless of `parallel.augmentation`"""

    augmentations = frozenset({"crop", "flip", "draw", "cutout"})
    repeats_epochs = False

    @property
    def padded_copy(self) -> Literal["none", "bytes", "values"]:
        return "values" if self.preprocess == "once" else "none"

    @property
    def draws_in_bulk(self) -> bool:
        return self.choices == "bulk"


class Dali(LoaderConfig):
    """A batch at a time through NVIDIA's DALI (extra `dali`): on the GPU that trains, or on the CPU where there is
    none. It supports crop, flip and cutout."""

    name: Literal["dali"]
    """the loader"""
    threads: Annotated[int, Field(ge=1)] = 2
    """CPU threads of DALI for each process that trains"""

    package = "nvidia.dali"
    augmentations = frozenset({"crop", "flip", "draw", "cutout"})

    @property
    def padded_copy(self) -> Literal["none", "bytes", "values"]:
        return "bytes"


Loader = Annotated[Resident | Bulk | Torchvision | Dali, Field(discriminator="name")]
