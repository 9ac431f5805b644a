"""The knobs of the loaders: who augments the training images, where, and how many at a time."""

from typing import Annotated, Literal

from pydantic import Field

from pipelines.recipe.knobs import Knobs


class Resident(Knobs):
    """The training set lies preprocessed on the training device, where a whole epoch is augmented at once."""

    name: Literal["resident"]
    """the loader"""


class Bulk(Knobs):
    """The training set lies preprocessed in host memory, where a whole epoch is augmented at once; its batches are
    moved to the training device one by one."""

    name: Literal["bulk"]
    """the loader"""


class Torchvision(Knobs):
    """Image by image on the CPU, through torchvision's transforms (v2) and torch's DataLoader: what most people write.
    It knows crop, flip and cutout."""

    name: Literal["torchvision"]
    """the loader"""
    workers: Annotated[int, Field(ge=0)] = 2
    """processes, for each process that trains, that prepare batches ahead; 0: the training process does it itself"""
    preprocess: Literal["per_sample", "once"] = "per_sample"
    """pad and normalise an image whenever it is drawn, or all of them once before the training, in host memory"""
    choices: Literal["per_sample", "bulk"] = "per_sample"
    """draw random numbers whenever an image is drawn, or for all images at the start of an epoch"""


class Dali(Knobs):
    """A batch at a time through NVIDIA's DALI (extra `dali`): on the GPU that trains, or on the CPU where there is
    none. It knows crop, flip and cutout."""

    name: Literal["dali"]
    """the loader"""
    threads: Annotated[int, Field(ge=1)] = 2
    """CPU threads of DALI for each process that trains"""


Loader = Annotated[Resident | Bulk | Torchvision | Dali, Field(discriminator="name")]
