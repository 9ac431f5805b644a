"""The techniques. The technique `ema` is configured here by `EMA` and implemented in `pipelines/techniques/ema.py`.

A recipe switches one on by naming it (`techniques: {ema: {}}`), and a recipe built on it switches it off with `null`.
"""

from collections.abc import Callable

from pipelines.recipe.config import Config
from pipelines.recipe.techniques.averages import EMA, SWA, Ensemble, Lookahead
from pipelines.recipe.techniques.batches import BatchSelection, CutMix, DataPruning, GrowingBatch, MixUp
from pipelines.recipe.techniques.freezing import FreezeOut, LinearProbe, WhiteningBias
from pipelines.recipe.techniques.monitors import EarlyStopping, ReduceOnPlateau
from pipelines.recipe.techniques.pretraining import Contrastive, Distillation, MaskedImage, Pretrained
from pipelines.recipe.techniques.probes import LayerScales, LoaderCosts
from pipelines.recipe.techniques.regularization import GradientClipping, Penalty, ProgressiveDropout
from pipelines.recipe.techniques.technique import Technique
from pipelines.recipe.techniques.unlabelled import FixMatch, MeanTeacher, SelfTraining


class Techniques(Config):
    """Behaviours that hook into the loop. At each event they act in the order of this list."""

    whitening_bias: WhiteningBias | None = None
    """freeze the bias of the whitening layer early"""
    freeze_out: FreezeOut | None = None
    """freeze the first stages of the network early"""
    batch_selection: BatchSelection | None = None
    """train on the images of each batch that a proxy network finds hardest"""
    data_pruning: DataPruning | None = None
    """leave out the images of each batch that were learnt best"""
    self_training: SelfTraining | None = None
    """learn from the network's own labels of unlabelled images"""
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
    fixmatch: FixMatch | None = None
    """learn from consistency between weak and strong augmentation"""
    mean_teacher: MeanTeacher | None = None
    """learn from agreement with a moving average"""

    loader_costs: LoaderCosts | None = None
    """note what the loader costs"""

    def chosen(self) -> dict[str, Technique]:
        """Those that are switched on, by name, in the order in which they act."""
        return {name: technique for name, technique in self if technique is not None}

    def where(self, applies: Callable[[Technique], bool]) -> list[str]:
        """The names of those that are switched on and to which something applies."""
        return [name for name, technique in self.chosen().items() if applies(technique)]
