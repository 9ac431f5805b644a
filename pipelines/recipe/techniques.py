"""The techniques. The technique `ema` is configured here by `EMA` and implemented in `pipelines/techniques/ema.py`.

A recipe switches one on by naming it (`techniques: {ema: {}}`), and a recipe built on it switches it off with `null`.
"""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from pipelines.recipe.config import Config, NonNegative, Positive, Share
from pipelines.recipe.networks import ConvNet, Dropout, Network
from pipelines.recipe.training import Augment


class Technique(Config):
    """What every technique has. The class variables state what is true of the technique itself: the constraints, the
    estimate, the strategies and the warm-up read them here."""

    package: ClassVar[str] = "pipelines.techniques"
    """the package of the module that implements it"""
    weight_access: ClassVar[Literal["none", "evaluation", "training"]] = "training"
    """`none`: it uses neither weights nor gradients; `evaluation`: it reads the weights, and puts others in their place
    for an evaluation only; `training`: it changes weights, gradients or the optimizer, or calls the
    network itself"""
    evaluates_other_weights: ClassVar[bool] = False
    """it decides which weights are evaluated"""
    own_objective: ClassVar[bool] = False
    """it minimizes something else than the loss of the batch alone"""
    acts_once: ClassVar[bool] = False
    """it changes something once and for all in the course of the training"""
    changes_graph: ClassVar[bool] = False
    """after a while some parameters have no gradient any more"""
    changes_gradients: ClassVar[bool] = False
    """it changes the gradients of each batch"""
    calls_layers: ClassVar[bool] = False
    """it calls the layers of the network without what comes before them"""
    single_process_only: ClassVar[bool] = False
    """it does not train with several processes"""
    needs_unlabelled: ClassVar[bool] = False
    """it learns from images without labels, which `data.fraction` leaves"""
    takes_tokens: ClassVar[bool] = False
    """it sees weights, gradients or losses alone, so that the data may be tokens as well as images"""

    @property
    def weight_copies(self) -> int:
        """How many float32 copies of the weights it keeps."""
        return 0

    @property
    def warm_up_steps(self) -> int:
        """Steps after which it has done all that it does in a training."""
        return 1

    def shortened(self, steps_per_epoch: int) -> Self:
        """The technique as the warm-up runs it: all that it does happens within the first steps."""
        return self


class EMA(Technique):
    """Evaluate an exponential moving average of the parameters and the norms' statistics (Polyak averaging)."""

    takes_tokens = True
    weight_access = "evaluation"
    evaluates_other_weights = True

    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """share of the old average that stays at each step"""
    every: Annotated[int, Field(ge=1)] = 5
    """steps between two updates, which then use momentum to the power of this"""
    per_epoch: bool = False
    """count steps from the start of each epoch and update after the first of `every` (after steps 1, 6, 11 … of an
    epoch, as cifar10-fast); false: count all steps and update after the last (5, 10, 15 …)"""

    @property
    def weight_copies(self) -> int:
        return 1

    @property
    def warm_up_steps(self) -> int:
        return self.every


class Lookahead(Technique):
    """Every few steps, pull the weights back to a slow average of themselves (Zhang et al. 2019, as in airbench).

    The share of the average that stays is `decay` times (progress to the power of `power`): with power 3 it starts at
    0 and ends at `decay`.
    """

    takes_tokens = True

    every: Annotated[int, Field(ge=1)] = 5
    """steps between two updates"""
    decay: Annotated[float, Field(ge=0, lt=1)] = 0.95**5
    """share of the old average that stays at the end of the training"""
    power: NonNegative = 3.0
    """how the share grows with the progress of the training; 0: it is `decay` from the beginning"""
    start_epoch: NonNegative = 0.0
    """epochs before it begins; the average starts with the weights of the first update then"""

    @property
    def weight_copies(self) -> int:
        return 1

    @property
    def warm_up_steps(self) -> int:
        return self.every


class WhiteningBias(Technique):
    """Train the bias of the whitening layer for the first epochs only: from then on its gradient, which is the most
    expensive of all, is not computed (airbench)."""

    weight_access = "none"
    acts_once = True
    changes_graph = True

    epochs: Positive = 3.0
    """epochs in which it is trained"""
    decay: bool = False
    """let its learning rate fall linearly to zero over them; false: it follows the schedule of the others"""

    def shortened(self, steps_per_epoch: int) -> Self:
        return self.model_copy(update={"epochs": 1 / steps_per_epoch})


class FreezeOut(Technique):
    """Train the first stages of the network for the first epochs only: from then on neither their gradients nor that of
    what they put out are computed (FreezeOut, Brock et al. 2017). What is before a stage is frozen with it."""

    weight_access = "none"
    acts_once = True
    changes_graph = True

    epochs: Annotated[tuple[Positive, ...], Field(min_length=1)]
    """epochs in which each of the stages is trained, from the first stage on, in rising order; the stages that are not
    listed are trained to the end"""

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if list(self.epochs) != sorted(self.epochs):
            raise ValueError(f"epochs={list(self.epochs)} must rise: a stage is frozen with those before it")
        return self

    def frozen_stages(self, step: int, steps_per_epoch: int) -> int:
        """How many stages a step does not train."""
        return sum(step >= round(epochs * steps_per_epoch) for epochs in self.epochs)

    @property
    def warm_up_steps(self) -> int:
        return 2 + len(self.epochs)

    def shortened(self, steps_per_epoch: int) -> Self:
        after_whitening_bias = range(2, 2 + len(self.epochs))
        return self.model_copy(update={"epochs": tuple(step / steps_per_epoch for step in after_whitening_bias)})


class BatchSelection(Technique):
    """Train on the part of each batch that a small proxy network finds hardest (airbench96_faster). The proxy is
    trained on the same batches, with the recipe's optimizer, schedule and loss."""

    acts_once = True
    single_process_only = True

    keep: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """share of each batch that the network is trained on"""
    every: Annotated[int, Field(ge=1)] = 4
    """the proxy steps on one of so many batches; of the others it only chooses the images"""
    proxy: Network
    """the proxy network"""


class ReduceOnPlateau(Technique):
    """Lower the learning rate when the training loss stops falling, as torch's ReduceLROnPlateau does."""

    takes_tokens = True
    weight_access = "none"
    acts_once = True

    factor: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """what a reduction multiplies every learning rate by, on top of the schedule"""
    patience: Annotated[int, Field(ge=0)] = 10
    """epochs in a row without a better loss that are tolerated; the next one reduces"""
    threshold: Annotated[float, Field(ge=0, lt=1)] = 1e-4
    """share of the best loss by which a loss must lie below it to be better"""
    min_factor: Annotated[float, Field(ge=0, le=1)] = 0.0
    """all reductions together go no lower than this"""


class ProgressiveDropout(Technique):
    """Let the rates of `model.dropout` come from those of `start`, linearly up to `end_epoch`, or exponentially with
    `gamma` (curriculum dropout, Morerio et al. 2017); use one of the two."""

    weight_access = "none"
    acts_once = True

    start: Dropout = Dropout()
    """rates at the first step"""
    end_epoch: Positive | None = None
    """epochs after which the rates are those of `model.dropout`, and stay there"""
    gamma: Positive | None = None
    """share of the rest of the way that a step goes, as an exponent: after t steps, exp(-gamma t) of it is left"""

    @model_validator(mode="after")
    def _has_one_schedule(self) -> "ProgressiveDropout":
        if (self.end_epoch is None) == (self.gamma is None):
            raise ValueError("set either end_epoch (linear) or gamma (exponential)")
        return self


class Mixing(Technique):
    """What the techniques share that mix the images of a batch with one another."""

    weight_access = "none"

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


class Penalty(Technique):
    """Add the size of the weights to what is minimised. Biases and norms are exempt, and the training loss that is
    reported is without it."""

    takes_tokens = True
    changes_gradients = True

    l1: NonNegative = 0.0
    """times the sum of absolute values, for the mean loss"""
    l2: NonNegative = 0.0
    """times half the sum of squares, for the mean loss: in plain SGD the same as weight decay"""

    @model_validator(mode="after")
    def _penalises(self) -> "Penalty":
        if not self.l1 and not self.l2:
            raise ValueError("techniques.penalty does nothing: give it an l1 or an l2 above 0")
        return self


class GradientClipping(Technique):
    """Limit the gradient before each step (Pascanu, Mikolov & Bengio 2013)."""

    takes_tokens = True
    changes_gradients = True

    norm: Positive | None = None
    """scale the gradient down to this norm over all parameters, for the mean loss"""
    value: Positive | None = None
    """or cut each of its entries to this size, for the mean loss"""

    @model_validator(mode="after")
    def _limits_one_way(self) -> "GradientClipping":
        if (self.norm is None) == (self.value is None):
            raise ValueError("techniques.gradient_clipping limits either the norm or each value: give one of the two")
        return self


class GrowingBatch(Technique):
    """Let the gradients of several batches add up before the optimizer steps, and of more later on: a batch that grows
    (Smith et al. 2018)."""

    takes_tokens = True

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


class SWA(Technique):
    """Evaluate the mean of the weights at the ends of the last epochs, the statistics of the norms estimated anew
    (stochastic weight averaging, Izmailov et al. 2018)."""

    evaluates_other_weights = True

    start: Annotated[float, Field(ge=0, lt=1)] = 0.75
    """share of the training after which the epochs count; the end of the training always does"""

    @property
    def weight_copies(self) -> int:
        return 1


class EarlyStopping(Technique):
    """End the training when the accuracy on the held-out images has stopped rising. It is measured after each epoch,
    in the training's time."""

    evaluates_other_weights = True

    patience: Annotated[int, Field(ge=1)] = 5
    """epochs without a rise after which the training ends"""
    min_delta: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """a rise is more than this, as a fraction of the images"""
    restore_best: bool = True
    """end on the weights of the best epoch; false: on the last ones"""

    @property
    def weight_copies(self) -> int:
        return 1


class Ensemble(Technique):
    """Train several networks in turn, each for an equal share of the epochs, and evaluate their mean prediction. Let
    the schedule repeat itself as often."""

    evaluates_other_weights = True

    members: Annotated[int, Field(ge=2)] = 3
    """networks"""
    restart: Literal["warm", "fresh"] = "warm"
    """`warm`: each goes on from the one before (snapshot ensemble, Huang et al. 2017); `fresh`: each is initialised
    from a seed of its own, the optimizer's memory dropped"""

    @property
    def weight_copies(self) -> int:
        return self.members


class LoaderCosts(Technique):
    """Note in the record how fast the loader is alone, how long the training waited for its batches, and how much CPU
    time the training took, other processes of the loader included. After the last epoch it draws one more, without
    training on it, outside every lap but `total`."""

    package = "pipelines.probes"
    weight_access = "none"


class SelfTraining(Technique):
    """Learn from the network's own labels of the unlabelled images (Lee 2013), the most certain ones first
    (Cascante-Bonilla et al. 2021). The admitted share rises linearly from 0 to `share`."""

    needs_unlabelled = True

    start_epoch: Annotated[int, Field(ge=0)] = 1
    """epoch, from 0, up to which none is admitted"""
    end_epoch: Annotated[int, Field(ge=1)] = 5
    """epoch in which `share` is reached, and which labels them for the last time"""
    share: Share = 1.0
    """of the unlabelled images that is admitted in the end"""
    cycle: Annotated[int, Field(ge=1)] = 1
    """epochs from one labelling to the next"""
    ratio: Positive = 3.0
    """pseudo-labelled images in a step for each labelled one"""
    views: Augment = Augment()
    """their augmentation, which the labels did not see (noisy student, Xie et al. 2020)"""
    reinitialize: bool = False
    """draw the weights anew after each labelling, so that early mistakes are forgotten"""

    @model_validator(mode="after")
    def _ends_after_its_start(self) -> "SelfTraining":
        if self.end_epoch <= self.start_epoch:
            raise ValueError(
                f"end_epoch={self.end_epoch} is not after start_epoch={self.start_epoch}: give a later one"
            )
        return self


class FixMatch(Technique):
    """Learn on strongly augmented unlabelled images what the network is sure of on weakly augmented ones
    (Sohn et al. 2020)."""

    own_objective = True
    needs_unlabelled = True

    ratio: Positive = 3.0
    """unlabelled images in a step for each labelled one"""
    threshold: Annotated[float, Field(ge=0, lt=1)] = 0.95
    """probability of the likeliest class from which an image counts"""
    weight: Positive = 1.0
    """of the unlabelled images' loss"""
    weak: Augment = Augment()
    """the weak augmentation of the unlabelled images"""
    strong: Augment
    """the strong one"""


class MeanTeacher(Technique):
    """Agree with a moving average of oneself on other views of unlabelled images (Tarvainen & Valpola 2017). The
    average is what is evaluated."""

    evaluates_other_weights = True
    own_objective = True
    needs_unlabelled = True

    ratio: Positive = 3.0
    """unlabelled images in a step for each labelled one"""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """share of the average that stays at each step"""
    weight: Positive = 10.0
    """of the disagreement, when it is ramped up"""
    views: Augment
    """augmentation from which the teacher's and the student's views of an image are drawn"""
    ramp_up_epochs: NonNegative = 3.0
    """epochs over which that weight rises"""

    @property
    def weight_copies(self) -> int:
        return 1


class Pretraining(Technique):
    """What every pretraining has: a loop of its own before the training, in the lap `pretrain`."""

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

    calls_layers = True
    single_process_only = True

    source: Literal["digits"] = "digits"
    """the other task: scikit-learn's 8 x 8 digits, enlarged"""
    views: Augment = Augment()
    """their augmentation"""


class MaskedImage(Pretraining):
    """Pretrain without labels by filling in hidden patches, on all training images (He et al. 2022)."""

    calls_layers = True
    single_process_only = True
    needs_unlabelled = True

    patch: Annotated[int, Field(ge=1)] = 4
    """side of a patch in pixels"""
    share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """of the patches that are hidden"""


class Contrastive(Pretraining):
    """Pretrain without labels by momentum contrast, on all training images: MoCo (He et al. 2020)."""

    calls_layers = True
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


class Distillation(Pretraining):
    """Train a larger network on the same labelled images first, and learn from it too (Hinton et al. 2015)."""

    own_objective = True
    calls_layers = True
    single_process_only = True

    teacher: Network = ConvNet(name="convnet", widths=(32, 64), kernel_size=5)
    """the larger network"""
    temperature: Positive = 4.0
    """by which the logits are divided"""
    weight: Annotated[float, Field(ge=0, le=1)] = 0.9
    """share of the teacher's logits in the loss; the labels have the rest"""
    feature_weight: NonNegative = 0.0
    """of the distance between the features of the two, through a trained translation (Romero et al. 2015)"""


class LinearProbe(Technique):
    """Train the last layer alone, on the features of a backbone that stays as it is; it must have no norms, whose
    statistics would move."""

    calls_layers = True
    single_process_only = True


class LayerScales(Technique):
    """Note in the record how large activations and gradients are in each layer before the first step."""

    package = "pipelines.probes"

    images: Annotated[int, Field(ge=1)] = 256
    """labelled images in the batch that is measured"""


class Techniques(Config):
    """Behaviours that hook into the loop. At each event they act in the order of this list."""

    whitening_bias: WhiteningBias | None = None
    """freeze the bias of the whitening layer early"""
    freeze_out: FreezeOut | None = None
    """freeze the first stages of the network early"""
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

    layer_scales: LayerScales | None = None
    """note the scale of activations and gradients before the first step"""
    pretrained: Pretrained | None = None
    """train on another task first"""
    masked_image: MaskedImage | None = None
    """pretrain by filling in hidden patches"""
    contrastive: Contrastive | None = None
    """pretrain by momentum contrast"""
    distillation: Distillation | None = None
    """learn from a larger network"""
    linear_probe: LinearProbe | None = None
    """train the last layer alone"""
    self_training: SelfTraining | None = None
    """learn from the network's own labels of unlabelled images"""
    fixmatch: FixMatch | None = None
    """learn from consistency between weak and strong augmentation"""
    mean_teacher: MeanTeacher | None = None
    """learn from agreement with a moving average"""

    loader_costs: LoaderCosts | None = None
    """note what the loader costs"""

    def chosen(self) -> dict[str, Technique]:
        """Those that are switched on, by name, in the order in which they act."""
        return {name: technique for name, technique in self if technique is not None}
