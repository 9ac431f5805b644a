"""The knobs of the training: data, augmentation, loss, optimizer, schedule, evaluation."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipelines.recipe.knobs import Knobs

NonNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]


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


class Augment(Knobs):
    """Augmentation, drawn for a whole epoch at once. Each image draws its own."""

    crop: Annotated[int, Field(ge=0)] = 0
    """pad by so many pixels (reflection) and crop back to the size at a random place; 0: off"""
    flip: Literal["none", "random", "alternating"] = "none"
    """left-right flip: each epoch at random, or drawn once and turned over every epoch (airbench)"""
    cutout: Annotated[int, Field(ge=0)] = 0
    """side in pixels of a square set to the mean colour, wholly inside the image (DeVries & Taylor 2017); 0: off"""


class Loss(Knobs):
    """Cross-entropy."""

    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """share of the target spread evenly over the classes"""
    reduction: Literal["mean", "sum"] = "mean"
    """what is back-propagated. `sum` keeps float16 gradients away from underflow; rate and decay are then divided and
    multiplied by the batch size, so that `optimizer` means the same under both"""


class SGD(Knobs):
    """Stochastic gradient descent with momentum."""

    name: Literal["sgd"]
    """the optimizer"""
    lr: Positive
    """learning rate where the schedule is 1, for the mean loss of the global batch"""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """momentum, without dampening"""
    nesterov: bool = True
    """Nesterov's form of the momentum"""
    weight_decay: NonNegative = 0.0
    """L2 penalty added to the gradient, for the mean loss"""
    bias_lr_factor: Positive = 1.0
    """learning rate of the biases over that of the weights"""
    bias_weight_decay_factor: NonNegative = 1.0
    """weight decay of the biases over that of the weights"""

    @model_validator(mode="after")
    def _nesterov_has_momentum(self) -> "SGD":
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov=true needs a momentum above 0; say nesterov=false")
        return self


class AdamW(Knobs):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019)."""

    name: Literal["adamw"]
    """the optimizer"""
    lr: Positive = 1e-3
    """learning rate where the schedule is 1"""
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.999)
    """decay of the gradient's and of its square's running mean"""
    eps: Positive = 1e-8
    """added to the denominator"""
    weight_decay: NonNegative = 1e-2
    """decoupled weight decay, times the learning rate"""
    bias_lr_factor: Positive = 1.0
    """learning rate of the biases over that of the weights"""
    bias_weight_decay_factor: NonNegative = 1.0
    """weight decay of the biases over that of the weights"""


class Constant(Knobs):
    """The learning rate stays as it is."""

    name: Literal["constant"]
    """the schedule"""


class PiecewiseLinear(Knobs):
    """Straight lines between knots; the last value holds after the last knot."""

    name: Literal["piecewise_linear"]
    """the schedule"""
    epochs: Annotated[tuple[NonNegative, ...], Field(min_length=1)]
    """the knots, in epochs (fractions allowed), rising"""
    values: Annotated[tuple[NonNegative, ...], Field(min_length=1)]
    """factor on `optimizer.lr` at each knot"""

    @model_validator(mode="after")
    def _knots_match(self) -> "PiecewiseLinear":
        if len(self.epochs) != len(self.values):
            raise ValueError(f"{len(self.epochs)} epochs but {len(self.values)} values: give one value per knot")
        if any(later <= earlier for earlier, later in zip(self.epochs, self.epochs[1:], strict=False)):
            raise ValueError(f"epochs must rise from knot to knot, not {list(self.epochs)}")
        return self


class Evaluation(Knobs):
    """How accuracy is measured: always on the whole test set."""

    tta: Literal["none", "flip"] = "none"
    """test-time augmentation: the mean logits of the image and its mirror image"""
    every: Annotated[int, Field(ge=1)] = 1
    """epochs between two evaluations (the last epoch is always evaluated)"""
    train_accuracy: bool = False
    """also measure the accuracy on the training images, without augmentation"""
    batch_size: Annotated[int, Field(ge=1)] = 1000
    """images per forward pass"""


Optimizer = Annotated[SGD | AdamW, Field(discriminator="name")]
Schedule = Annotated[Constant | PiecewiseLinear, Field(discriminator="name")]
