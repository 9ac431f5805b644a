"""The knobs of the techniques. The technique `ema` lives in `pipelines/techniques/ema.py`, and so on.

A recipe switches one on by naming it (`techniques: {ema: {}}`) and a recipe built on it switches it off with `null`.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipelines.recipe import unlabelled
from pipelines.recipe.knobs import Knobs, NonNegative, Positive
from pipelines.recipe.networks import Dropout, Network


class EMA(Knobs):
    """Evaluate an exponential moving average of the parameters and the norms' statistics (Polyak averaging)."""

    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """share of the old average that stays at each step"""
    every: Annotated[int, Field(ge=1)] = 5
    """steps between two updates, which then use momentum to the power of this"""
    per_epoch: bool = False
    """count the steps of each epoch anew and update after the first of `every` (after steps 1, 6, 11 … of an epoch, as
    cifar10-fast); false: count all steps and update after the last (5, 10, 15 …)"""


class Lookahead(Knobs):
    """Every few steps, pull the weights back to a slow average of themselves (Zhang et al. 2019, as in airbench).

    The share of the average that stays is `decay` times (progress to the power of `power`): with power 3 it starts at
    0 and ends at `decay`.
    """

    every: Annotated[int, Field(ge=1)] = 5
    """steps between two updates"""
    decay: Annotated[float, Field(ge=0, lt=1)] = 0.95**5
    """share of the old average that stays at the end of the training"""
    power: NonNegative = 3.0
    """how the share grows with the progress of the training; 0: it is `decay` from the beginning"""
    start_epoch: NonNegative = 0.0
    """epochs before it begins; the average starts with the weights of the first update then"""


class WhiteningBias(Knobs):
    """Train the bias of the whitening layer for the first epochs only: from then on its gradient, which is the dearest
    of all, is not computed (airbench)."""

    epochs: Positive = 3.0
    """epochs in which it is trained"""
    decay: bool = False
    """let its learning rate fall linearly to zero over them; false: it follows the schedule of the others"""


class BatchSelection(Knobs):
    """Train on the part of each batch that a small proxy network finds hardest (airbench96_faster). The proxy is
    trained on the same batches, with the recipe's optimizer, schedule and loss."""

    keep: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """share of each batch that the network is trained on"""
    every: Annotated[int, Field(ge=1)] = 4
    """the proxy steps on one of so many batches; of the others it only chooses the images"""
    proxy: Network
    """the proxy network"""


class ReduceOnPlateau(Knobs):
    """Lower the learning rate when the training loss stops falling, as torch's ReduceLROnPlateau does."""

    factor: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """what a reduction multiplies every learning rate by, on top of the schedule"""
    patience: Annotated[int, Field(ge=0)] = 10
    """epochs in a row without a better loss that are borne; the next one reduces"""
    threshold: Annotated[float, Field(ge=0, lt=1)] = 1e-4
    """share of the best loss by which a loss must lie below it to be better"""
    min_factor: Annotated[float, Field(ge=0, le=1)] = 0.0
    """all reductions together go no lower than this"""


class ProgressiveDropout(Knobs):
    """Let the rates of `model.dropout` come from those of `start`, linearly up to `end_epoch`, or exponentially with
    `gamma` (curriculum dropout, Morerio et al. 2017); say one of the two."""

    start: Dropout = Dropout()
    """rates at the first step"""
    end_epoch: Positive | None = None
    """epochs after which the rates are those of `model.dropout`, and stay there"""
    gamma: Positive | None = None
    """share of the rest of the way that a step goes, as an exponent: after t steps, exp(-gamma t) of it is left"""

    @model_validator(mode="after")
    def _has_one_schedule(self) -> "ProgressiveDropout":
        if (self.end_epoch is None) == (self.gamma is None):
            raise ValueError("say either end_epoch (linear) or gamma (exponential)")
        return self


class Mixing(Knobs):
    """What the techniques share that mix the images of a batch with one another."""

    from_epoch: NonNegative = 0.0
    """epochs after which it begins"""
    until: Positive | None = None
    """epochs after which it ends; null: it stays to the end"""

    @model_validator(mode="after")
    def _begins_before_it_ends(self) -> "Mixing":
        if self.until is not None and self.until <= self.from_epoch:
            raise ValueError(f"until={self.until:g} must be more than from_epoch={self.from_epoch:g}")
        return self


class MixUp(Mixing):
    """Train on weighted means of two images and of their labels (Zhang et al. 2018)."""

    alpha: Positive = 0.2
    """the weight of a batch is drawn from the Beta distribution with both parameters so large"""


class CutMix(Mixing):
    """Paste a rectangle of another image into each, and mix the labels by area (Yun et al. 2019)."""

    alpha: Positive = 1.0
    """the area of a batch's rectangles is drawn from the Beta distribution with both parameters so large"""
    size: Annotated[int, Field(ge=1)] | None = None
    """side in pixels of a square, in place of a drawn area: 3 in hlb-CIFAR10; null: draw it"""


class Penalty(Knobs):
    """Add the size of the weights to what is minimised. Biases and norms are exempt, and the training loss that is
    reported is without it."""

    l1: NonNegative = 0.0
    """times the sum of absolute values, for the mean loss"""
    l2: NonNegative = 0.0
    """times half the sum of squares, for the mean loss: in plain SGD the same as weight decay"""

    @model_validator(mode="after")
    def _penalises(self) -> "Penalty":
        if not self.l1 and not self.l2:
            raise ValueError("techniques.penalty does nothing: give it an l1 or an l2 above 0")
        return self


class GradientClipping(Knobs):
    """Limit the gradient before each step (Pascanu, Mikolov & Bengio 2013)."""

    norm: Positive | None = None
    """scale the gradient down to this norm over all parameters, for the mean loss"""
    value: Positive | None = None
    """or cut each of its entries to this size, for the mean loss"""

    @model_validator(mode="after")
    def _limits_one_way(self) -> "GradientClipping":
        if (self.norm is None) == (self.value is None):
            raise ValueError("techniques.gradient_clipping limits either the norm or each value: give one of the two")
        return self


class GrowingBatch(Knobs):
    """Let the gradients of several batches add up before the optimizer steps, and of more later on: a batch that grows
    (Smith et al. 2018)."""

    epochs: tuple[NonNegative, ...]
    """epochs done from which on the number changes"""
    batches: tuple[Annotated[int, Field(ge=2)], ...]
    """how many batches make a step from then on"""

    @model_validator(mode="after")
    def _grows(self) -> "GrowingBatch":
        if len(self.epochs) != len(self.batches) or not self.epochs:
            raise ValueError("techniques.growing_batch needs as many epochs as batches, and one at least")
        if list(self.epochs) != sorted(set(self.epochs)) or list(self.batches) != sorted(set(self.batches)):
            raise ValueError("techniques.growing_batch: epochs and batches both increase")
        return self


class SWA(Knobs):
    """Evaluate the mean of the weights at the ends of the last epochs, the statistics of the norms estimated anew
    (stochastic weight averaging, Izmailov et al. 2018)."""

    start: Annotated[float, Field(ge=0, lt=1)] = 0.75
    """share of the training after which the epochs count; the end of the training always does"""


class EarlyStopping(Knobs):
    """End the training when the accuracy on the held-out images has stopped rising. It is measured after each epoch,
    in the training's time."""

    patience: Annotated[int, Field(ge=1)] = 5
    """epochs without a rise after which the training ends"""
    min_delta: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """a rise is more than this, as a fraction of the images"""
    restore_best: bool = True
    """end on the weights of the best epoch; false: on the last ones"""


class Ensemble(Knobs):
    """Train several networks in turn, each for an equal share of the epochs, and evaluate their mean prediction. Let
    the schedule repeat itself as often."""

    members: Annotated[int, Field(ge=2)] = 3
    """networks"""
    restart: Literal["warm", "fresh"] = "warm"
    """`warm`: each goes on from the one before (snapshot ensemble, Huang et al. 2017); `fresh`: each is initialised
    from a seed of its own, the optimizer's memory dropped"""


class LoaderCosts(Knobs):
    """Note in the record how fast the loader is alone, how long the training waited for its batches, and how much CPU
    time the training took, other processes of the loader included. After the last epoch it draws one more, without
    training on it, outside every lap but `total`."""


class Techniques(Knobs):
    """Behaviours that hook into the loop; at each event they act in the order in which they stand here."""

    whitening_bias: WhiteningBias | None = None
    """freeze the bias of the whitening layer early"""
    batch_selection: BatchSelection | None = None
    """train on the hardest images of each batch"""
    mixup: MixUp | None = None
    """train on means of two images"""
    cutmix: CutMix | None = None
    """train on images with a piece of another"""
    penalty: Penalty | None = None
    """penalise large weights"""
    gradient_clipping: GradientClipping | None = None
    """limit the gradient"""
    growing_batch: GrowingBatch | None = None
    """let the batch grow during the training"""
    lookahead: Lookahead | None = None
    """pull the weights back to a slow average"""
    progressive_dropout: ProgressiveDropout | None = None
    """let the rates of dropout rise during the training"""

    ema: EMA | None = None
    """evaluate a moving average of the weights"""
    reduce_on_plateau: ReduceOnPlateau | None = None
    """lower the learning rate when the training loss stops falling"""
    swa: SWA | None = None
    """evaluate the mean of the last epochs' weights"""
    early_stopping: EarlyStopping | None = None
    """end when the held-out accuracy stops rising"""
    ensemble: Ensemble | None = None
    """evaluate the mean prediction of several networks"""

    layer_scales: unlabelled.LayerScales | None = None
    """note the scale of activations and gradients before the first step"""
    pretrained: unlabelled.Pretrained | None = None
    """train on another task first"""
    masked_image: unlabelled.MaskedImage | None = None
    """pretrain by filling in hidden patches"""
    contrastive: unlabelled.Contrastive | None = None
    """pretrain by momentum contrast"""
    distillation: unlabelled.Distillation | None = None
    """learn from a larger network"""
    linear_probe: unlabelled.LinearProbe | None = None
    """train the last layer alone"""
    self_training: unlabelled.SelfTraining | None = None
    """learn from the network's own labels of unlabelled images"""
    fixmatch: unlabelled.FixMatch | None = None
    """learn from consistency between weak and strong augmentation"""
    mean_teacher: unlabelled.MeanTeacher | None = None
    """learn from agreement with a moving average"""

    loader_costs: LoaderCosts | None = None
    """note what the loader costs"""
