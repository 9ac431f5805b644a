"""Averages of weights or predictions."""

from typing import Annotated, Literal, Self

from pydantic import Field

from pipelines.recipe.config import NonNegative
from pipelines.recipe.techniques.technique import Technique


class EMA(Technique):
    """Evaluate an exponential moving average of the parameters and the norms' statistics (Polyak averaging)."""

    takes_tokens = True
    weight_access = "evaluation"
    evaluates_other_weights = True
    averages_weights = True

    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """share of the old average that stays at each step. After n steps, momentum to the power of n of the average is the
    initial weights: a training of few steps needs less"""
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
    averages_weights = True

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

    def shortened(self, steps_per_epoch: int) -> Self:
        return self.model_copy(update={"start_epoch": 0.0})


class SWA(Technique):
    """Evaluate the mean of the weights at the ends of the last epochs, the statistics of the norms estimated anew
    (stochastic weight averaging, Izmailov et al. 2018)."""

    evaluates_other_weights = True
    averages_weights = True

    start: Annotated[float, Field(ge=0, lt=1)] = 0.75
    """share of the training after which the epochs count; the end of the training always does"""

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
    def redraws_by(self) -> str | None:
        return "restart=fresh" if self.restart == "fresh" else None

    @property
    def weight_copies(self) -> int:
        return self.members
