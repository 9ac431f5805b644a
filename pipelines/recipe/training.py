"""What goes in and what is measured: data, augmentation, initialisation, loss, evaluation."""

from bisect import bisect_right
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pipelines.recipe.config import Config, NonNegative, Positive

OWN = ("folder", "idx", "arrays")
"""data sets that are found at `data.path`"""
MADE_UP = "made-up"
"""random images, made as the training begins"""
MADE_UP_TOKENS = "made-up-tokens"
"""random sequences of tokens, made as the training begins"""
RANDOM = (MADE_UP, MADE_UP_TOKENS)
"""data sets without test images, from which nothing can be learned"""


class MadeUp(Config):
    """Random images for measurements of throughput: nothing can be learned from them, and there is no test set."""

    images: Annotated[int, Field(ge=1)]
    """training images"""
    size: Annotated[int, Field(ge=1)]
    """height and width in pixels"""
    channels: Annotated[int, Field(ge=1)] = 3
    """of an image"""
    classes: Annotated[int, Field(ge=2)] = 1000
    """labels, each of about as many images"""


class MadeUpTokens(Config):
    """Random sequences of tokens for measurements of throughput. The target of each token is the next one."""

    sequences: Annotated[int, Field(ge=1)]
    """training sequences"""
    length: Annotated[int, Field(ge=1)]
    """tokens of a sequence"""
    vocabulary: Annotated[int, Field(ge=2)] = 50257
    """different tokens; GPT-2 has 50,257"""


class Data(Config):
    """Which images, or tokens, a recipe trains on."""

    name: Literal[
        "cifar10",
        "cifar100",
        "digits",
        "fashion-mnist",
        "mnist",
        "svhn",
        "folder",
        "idx",
        "arrays",
        "made-up",
        "made-up-tokens",
    ]
    """a published data set (`pipelines/data/sources/`); or what is at `path`: a `folder` of images by class, files in
    MNIST's format (`idx`), or NumPy `arrays` (.npz); or random images (`made-up`) or tokens (`made-up-tokens`)"""
    made_up: MadeUp | None = None
    """what the random images are like"""
    tokens: MadeUpTokens | None = None
    """what the random tokens are like"""
    path: str | None = None
    """where a folder, idx files or arrays are"""
    resize: Annotated[int, Field(ge=1)] | None = None
    """height and width in pixels that the images of a folder are resized to, bilinearly; null: all have one size"""
    fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    """share of the training set that is used, stratified by class; the rest becomes the unlabelled pool"""
    split_seed: Annotated[int, Field(ge=0)] = 0
    """seed of that split: the same for every trial"""
    class_weights: tuple[NonNegative, ...] | None = None
    """draw the images of an epoch with replacement, each with the weight of its class (torch's WeightedRandomSampler);
    null: each image once"""
    limit: Annotated[int, Field(ge=1)] | None = None
    """use at most so many training and so many test images (a smoke test sets it); null: all"""
    validation: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """share of the labelled training images that is held out, stratified by class, by `split_seed`: not trained on"""
    folds: Annotated[int, Field(ge=2)] | None = None
    """cross-validation: the training images fall into so many stratified parts; instead of `validation`"""
    fold: Annotated[int, Field(ge=0)] | None = None
    """which of these parts is held out, from 0"""
    evaluate: Literal["test", "validation"] = "test"
    """what accuracy is measured on: `validation`, the held-out images; the test set is not used"""

    @model_validator(mode="after")
    def _is_somewhere(self) -> "Data":
        if (self.path is None) == (self.name in OWN):
            remedy = "set the path: data.path=…" if self.path is None else f"data.path is for {', '.join(OWN)}"
            raise ValueError(f"data.name={self.name}: {remedy}")
        if self.resize is not None and self.name != "folder":
            raise ValueError(f"data.resize={self.resize} is only for data.name=folder")
        if (self.made_up is None) == (self.name == MADE_UP):
            size = "data.made_up={images: 1024, size: 224}"
            remedy = f"set how many and how large: {size}" if self.made_up is None else "data.made_up is for made-up"
            raise ValueError(f"data.name={self.name}: {remedy}")
        if (self.tokens is None) == self.is_tokens:
            size = "data.tokens={sequences: 96, length: 1024}"
            remedy = f"set how many: {size}" if self.tokens is None else f"data.tokens is for {MADE_UP_TOKENS}"
            raise ValueError(f"data.name={self.name}: {remedy}")
        return self

    @property
    def is_published(self) -> bool:
        """Whether it is a data set that others have too."""
        return self.name not in (*OWN, *RANDOM)

    @property
    def is_tokens(self) -> bool:
        """Whether it consists of sequences of tokens, and not of images."""
        return self.name == MADE_UP_TOKENS

    @model_validator(mode="after")
    def _holds_out_one_way(self) -> "Data":
        if (self.folds is None) != (self.fold is None):
            raise ValueError(
                "data.folds and data.fold go together: set the number of parts and the part that is held out"
            )
        if self.folds is not None and self.fold is not None:
            if self.fold >= self.folds:
                raise ValueError(f"data.fold={self.fold}: of {self.folds} folds the last is {self.folds - 1}")
            if self.validation:
                raise ValueError("data.folds already says what is held out: leave data.validation=0")
        if self.evaluate == "validation" and not self.holds_out:
            raise ValueError("data.evaluate=validation needs images that are held out: set data.validation=0.1")
        return self

    @property
    def holds_out(self) -> bool:
        """Whether some labelled training images are not trained on."""
        return self.validation > 0 or self.folds is not None


class Affine(Config):
    """A small rotation, scaling and shear around the centre, each uniform from minus to plus its limit."""

    rotate: Annotated[float, Field(ge=0, le=180)] = 0.0
    """degrees"""
    scale: Annotated[float, Field(ge=0)] = 0.0
    """larger or smaller by this share of the size"""
    shear: Annotated[float, Field(ge=0, lt=90)] = 0.0
    """degrees"""


class Elastic(Config):
    """A smooth random displacement of the pixels (Simard, Steinkraus & Platt 2003)."""

    displacement: Annotated[float, Field(gt=0)] = 1.0
    """its root mean square in pixels"""
    smoothness: Annotated[float, Field(gt=0)] = 4.0
    """standard deviation in pixels of the Gaussian that smooths it"""


class Resolution(Config):
    """Small images first: cheap epochs to begin with, the full size at the end (progressive resizing, as in E1). A crop
    as large as its size is not resized, so that it keeps the scale of the test images."""

    epochs: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)]
    """the first epoch of each size, from 0, rising"""
    sizes: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)]
    """height and width in pixels from each of those epochs on"""
    crops: tuple[Annotated[int, Field(ge=1)], ...] | None = None
    """height and width in pixels of the part of the image that is resized to each of those sizes: its middle, moved by
    `augment.crop`; null: the whole image"""

    @model_validator(mode="after")
    def _sizes_match(self) -> "Resolution":
        if len(self.epochs) != len(self.sizes):
            raise ValueError(f"{len(self.epochs)} epochs but {len(self.sizes)} sizes: give one size per epoch")
        if self.crops is not None and len(self.crops) != len(self.sizes):
            raise ValueError(f"{len(self.sizes)} sizes but {len(self.crops)} crops: give one crop per size, or null")
        if self.epochs[0] != 0 or any(later <= earlier for earlier, later in pairwise(self.epochs)):
            raise ValueError(f"epochs must begin with 0 and rise, not {list(self.epochs)}")
        return self

    def size(self, epoch: int) -> int:
        """Height and width in epoch `epoch`, from 0."""
        return self.sizes[self._stage(epoch)]

    def crop(self, epoch: int) -> int | None:
        """Height and width of what is resized in epoch `epoch`, from 0; None: the whole image."""
        return None if self.crops is None else self.crops[self._stage(epoch)]

    def of_epoch(self, epoch: int) -> Self:
        """The size and the crop of epoch `epoch`, from 0, for all epochs."""
        crop = self.crop(epoch)
        return type(self)(epochs=(0,), sizes=(self.size(epoch),), crops=None if crop is None else (crop,))

    def _stage(self, epoch: int) -> int:
        return bisect_right(self.epochs, epoch) - 1


class Augment(Config):
    """Augmentation, drawn for a whole epoch at once. Each image draws its own."""

    crop: Annotated[int, Field(ge=0)] = 0
    """pad by this many pixels (reflection) and crop back to the size at a random place; 0: off"""
    flip: Literal["none", "random", "alternating"] = "none"
    """left-right flip: each epoch at random, or drawn once and turned over every epoch (airbench)"""
    draw: Literal["independent", "even"] = "independent"
    """how places and flips are drawn: for each image independently; or each for an equal share of an epoch's images, so
    that exactly half are flipped, with at most 200 places of the cutout an epoch (cifar10-fast on a GPU)"""
    cutout: Annotated[int, Field(ge=0)] = 0
    """side in pixels of a square set to the mean colour (DeVries & Taylor 2017), wholly inside the image, where theirs
    may hang over the border; 0: off"""
    affine: Affine | None = None
    """rotate, scale and shear a little"""
    elastic: Elastic | None = None
    """bend the image"""
    brightness: NonNegative = 0.0
    """shift of a whole image, up to so much up or down, in standard deviations of the pixels (hiverge); 0: off"""
    contrast: Annotated[float, Field(ge=0, le=1)] = 0.0
    """scaling of a whole image about the mean colour, after the shift, by 1 plus or minus up to so much (hiverge);
    0: off"""
    resolution: Resolution | None = None
    """resize the augmented images of early epochs, bilinearly: cropping and all else happens at full size, so that a
    small image shows the whole scene. The test images keep their size; null: no resizing"""


class Initialization(Config):
    """Where training starts. PyTorch's own initialisation, unless something else is said."""

    convolutions: Literal[
        "default",
        "dirac",
        "xavier_uniform",
        "xavier_normal",
        "kaiming_uniform",
        "kaiming_normal",
        "orthogonal",
        "normal",
        "constant",
        "implicit_residual",
    ] = "default"
    """the filters. `dirac`: the first outputs pass the inputs through, the others are as by default (airbench);
    `xavier`: Glorot & Bengio 2010; `kaiming`: He et al. 2015; `orthogonal`: Saxe et al. 2014;
    `implicit_residual`: the identity where the channels stay as many, else the default plus the identity, scaled back
    to the default's mean and spread (hlb-CIFAR10)"""
    head: Literal[
        "default",
        "unit_std",
        "xavier_uniform",
        "xavier_normal",
        "kaiming_uniform",
        "kaiming_normal",
        "orthogonal",
        "normal",
        "constant",
    ] = "default"
    """the weights of the last layer; `unit_std` scales them to a standard deviation of 1, which needs a small
    `model.logit_scale` (airbench94_muon)"""
    gain: Positive = 1.0
    """factor on the filters after they were drawn: far from 1, the activations vanish or explode"""
    head_gain: Positive = 1.0
    """factor on the weights of the last layer after they were drawn"""
    std: Positive = 0.01
    """standard deviation of `normal`, around 0"""
    value: float = 0.01
    """what `constant` sets every weight to"""

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> "Initialization":
        for option, method in (("std", "normal"), ("value", "constant")):
            value = getattr(self, option)
            if method not in (self.convolutions, self.head) and value != type(self).model_fields[option].default:
                raise ValueError(f"{option}={value} does nothing: set convolutions={method} or head={method}")
        return self


class Loss(Config):
    """Cross-entropy."""

    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """share of the target spread evenly over the classes"""
    reduction: Literal["mean", "sum"] = "mean"
    """what is back-propagated. Rate and decay are divided and multiplied by `batch_size` under `sum`, so that
    `optimizer` means the same under both. Where fewer images are trained on, the gradient of the sum is smaller: in a
    last batch that is not whole, and in what `batch_selection` or `data_pruning: {drop: 1}` leaves of a batch"""
    scaling: Literal["fixed", "dynamic"] = "fixed"
    """under `precision: half`, how gradients are kept within its range: `fixed`, those of float16 are of the summed
    loss and divided by the batch size in float32; `dynamic`, torch's GradScaler, which leaves out steps whose gradients
    overflow and notes how many (`loss_scaling` in a trial's notes)"""


class Evaluation(Config):
    """How accuracy is measured: always on the whole test set, or on all that `data.evaluate` puts in its place."""

    tta: Literal["none", "flip", "crops"] = "none"
    """test-time augmentation, the mean logits of several views: `flip`, the image and its mirror image; `crops`, those
    two with half of the weight, and shifted by a pixel up-left and down-right with a quarter each (airbench)"""
    tta_share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """share of the images that get more than the first view: those of which the network is least certain (hiverge)"""
    every: Annotated[int, Field(ge=1)] | None = 1
    """epochs between two evaluations (the last epoch is always evaluated); null: no evaluation, for `target: null`"""
    train_accuracy: bool = False
    """also measure the accuracy on the training images, without augmentation"""
    per_class: bool = False
    """note the accuracy of each class in the record too"""
    batch_size: Annotated[int, Field(ge=1)] = 1000
    """images per forward pass"""
