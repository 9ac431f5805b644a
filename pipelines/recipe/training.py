"""The knobs of what goes in and what is measured: data, augmentation, initialisation, loss, evaluation."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipelines.recipe.knobs import Knobs, Positive


class Data(Knobs):
    """Which images a recipe trains on."""

    name: Literal["cifar10", "mnist", "digits"]
    """the data set"""
    fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    """share of the training set that is used, stratified by class; the rest becomes the unlabelled pool"""
    split_seed: Annotated[int, Field(ge=0)] = 0
    """seed of that split: the same for every trial"""
    limit: Annotated[int, Field(ge=1)] | None = None
    """use at most so many training and so many test images (sample mode sets it); null: all"""
    validation: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """share of the labelled training images that is held out, stratified by class, by `split_seed`: not trained on"""
    folds: Annotated[int, Field(ge=2)] | None = None
    """cross-validation: the training images fall into so many stratified parts; instead of `validation`"""
    fold: Annotated[int, Field(ge=0)] | None = None
    """which of these parts is held out, from 0"""
    evaluate: Literal["test", "validation"] = "test"
    """what accuracy is measured on: `validation`, the held-out images; the test set is then left alone"""

    @model_validator(mode="after")
    def _holds_out_one_way(self) -> "Data":
        if (self.folds is None) != (self.fold is None):
            raise ValueError("data.folds and data.fold go together: say how many parts, and which of them is held out")
        if self.folds is not None and self.fold is not None:
            if self.fold >= self.folds:
                raise ValueError(f"data.fold={self.fold}: of {self.folds} folds the last is {self.folds - 1}")
            if self.validation:
                raise ValueError("data.folds already says what is held out: leave data.validation=0")
        if self.evaluate == "validation" and not self.holds_out:
            raise ValueError("data.evaluate=validation needs images that are held out: say data.validation=0.1")
        return self

    @property
    def holds_out(self) -> bool:
        """Whether some labelled training images are not trained on."""
        return self.validation > 0 or self.folds is not None


class Augment(Knobs):
    """Augmentation, drawn for a whole epoch at once. Each image draws its own."""

    crop: Annotated[int, Field(ge=0)] = 0
    """pad by so many pixels (reflection) and crop back to the size at a random place; 0: off"""
    flip: Literal["none", "random", "alternating"] = "none"
    """left-right flip: each epoch at random, or drawn once and turned over every epoch (airbench)"""
    cutout: Annotated[int, Field(ge=0)] = 0
    """side in pixels of a square set to the mean colour, wholly inside the image (DeVries & Taylor 2017); 0: off"""


class Initialization(Knobs):
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
    ] = "default"
    """the filters. `dirac`: the first outputs pass the inputs through, the others are as by default (airbench);
    `xavier`: Glorot & Bengio 2010; `kaiming`: He et al. 2015; `orthogonal`: Saxe et al. 2014"""
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
    """the weights of the last layer; `unit_std` scales them to a standard deviation of 1, which wants a small
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
        for knob, method in (("std", "normal"), ("value", "constant")):
            value = getattr(self, knob)
            if method not in (self.convolutions, self.head) and value != type(self).model_fields[knob].default:
                raise ValueError(f"{knob}={value} does nothing: say convolutions={method} or head={method}")
        return self


class Loss(Knobs):
    """Cross-entropy."""

    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """share of the target spread evenly over the classes"""
    reduction: Literal["mean", "sum"] = "mean"
    """what is back-propagated. `sum` keeps float16 gradients away from underflow; rate and decay are then divided and
    multiplied by the batch size, so that `optimizer` means the same under both"""


class Evaluation(Knobs):
    """How accuracy is measured: always on the whole test set, or on all that `data.evaluate` puts in its place."""

    tta: Literal["none", "flip", "crops"] = "none"
    """test-time augmentation, the mean logits of several views: `flip`, the image and its mirror image; `crops`, those
    two with half of the weight, and shifted by a pixel up-left and down-right with a quarter each (airbench)"""
    tta_share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """share of the images that get more than the first view: those of which the network is least certain (hiverge)"""
    every: Annotated[int, Field(ge=1)] = 1
    """epochs between two evaluations (the last epoch is always evaluated)"""
    train_accuracy: bool = False
    """also measure the accuracy on the training images, without augmentation"""
    batch_size: Annotated[int, Field(ge=1)] = 1000
    """images per forward pass"""
