"""The knobs of the techniques. The technique `ema` lives in `pipelines/techniques/ema.py`, and so on.

A recipe switches one on by naming it (`techniques: {ema: {}}`) and a recipe built on it switches it off with `null`.
"""

from typing import Annotated

from pydantic import Field, model_validator

from pipelines.recipe.knobs import Knobs, NonNegative, Positive
from pipelines.recipe.networks import Dropout


class EMA(Knobs):
    """Evaluate an exponential moving average of the parameters and the norms' statistics (Polyak averaging)."""

    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """share of the old average that stays at each step"""
    every: Annotated[int, Field(ge=1)] = 5
    """steps between two updates, which then use momentum to the power of this"""


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


class Techniques(Knobs):
    """Behaviours that hook into the loop; at each event they act in the order in which they stand here."""

    whitening_bias: WhiteningBias | None = None
    """freeze the bias of the whitening layer early"""
    lookahead: Lookahead | None = None
    """pull the weights back to a slow average"""
    progressive_dropout: ProgressiveDropout | None = None
    """let the rates of dropout rise during the training"""

    ema: EMA | None = None
    """evaluate a moving average of the weights"""
    reduce_on_plateau: ReduceOnPlateau | None = None
    """lower the learning rate when the training loss stops falling"""
