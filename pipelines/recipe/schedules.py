"""The learning-rate schedules."""

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipelines.recipe.config import Config, NonNegative, Positive

Share = Annotated[float, Field(ge=0, le=1)]
Gamma = Annotated[float, Field(gt=0, le=1)]


class WarmedUp(Config):
    """What every schedule has: a gradual warm-up (Goyal et al. 2017)."""

    name: str
    """the schedule"""
    warm_up: NonNegative = 0.0
    """epochs in which the schedule is multiplied by a straight line from `warm_up_start` to 1"""
    warm_up_start: Share = 0.0
    """where that line starts"""
    first_step: Annotated[int, Field(ge=0)] = 0
    """place of the first optimizer step in the schedule, in steps; 1 in cifar10-fast, which counts a step before it
    looks up its learning rate"""


class Decay(WarmedUp):
    """A schedule that begins where the warm-up ends. All others count from the start of the training."""

    warm_up: NonNegative = 0.0
    """epochs in which the factor rises in a straight line from `warm_up_start` to 1; the decay begins after them"""


class Constant(WarmedUp):
    """The learning rate stays as it is."""

    name: Literal["constant"]
    """the schedule"""


class PiecewiseLinear(WarmedUp):
    """Straight lines between knots; the last value holds after the last knot."""

    name: Literal["piecewise_linear"]
    """the schedule"""
    epochs: Annotated[tuple[NonNegative, ...], Field(min_length=1)]
    """the knots, in epochs (fractions allowed), rising"""
    values: Annotated[tuple[NonNegative, ...], Field(min_length=1)]
    """factor on `optimizer.lr` at each knot"""
    period: Positive | None = None
    """epochs after which it starts again, for an ensemble of cycles; null: never"""

    @model_validator(mode="after")
    def _knots_match(self) -> "PiecewiseLinear":
        if len(self.epochs) != len(self.values):
            raise ValueError(f"{len(self.epochs)} epochs but {len(self.values)} values: give one value per knot")
        must_rise("epochs must rise from knot to knot", self.epochs)
        if self.period and self.period < self.epochs[-1]:
            raise ValueError(
                f"period={self.period:g} starts again before the last knot, at epoch {self.epochs[-1]:g}: "
                f"set period={self.epochs[-1]:g} or more"
            )
        return self


class Step(WarmedUp):
    """Times gamma after every `every` epochs."""

    name: Literal["step"]
    """the schedule"""
    every: Positive
    """epochs between two steps"""
    gamma: Gamma = 0.1
    """factor on the rate at each step"""


class MultiStep(WarmedUp):
    """Times gamma at each milestone."""

    name: Literal["multi_step"]
    """the schedule"""
    milestones: Annotated[tuple[Positive, ...], Field(min_length=1)]
    """where the steps are, in epochs (fractions allowed), rising"""
    gamma: Gamma = 0.1
    """factor on the rate at each step"""

    @model_validator(mode="after")
    def _milestones_rise(self) -> "MultiStep":
        must_rise("milestones must rise", self.milestones)
        return self


class Exponential(Decay):
    """gamma^t after t epochs."""

    name: Literal["exponential"]
    """the schedule"""
    gamma: Gamma
    """what an epoch multiplies the rate by, a little at each step"""


class InverseTime(Decay):
    """1 / (1 + k t) after t epochs."""

    name: Literal["inverse_time"]
    """the schedule"""
    k: Positive
    """the rate is halved after 1 / k epochs"""


class InverseSqrt(WarmedUp):
    """k / sqrt(t) after t epochs, 1 while that is more; with a warm-up of k^2 epochs as in Vaswani et al. 2017."""

    name: Literal["inverse_sqrt"]
    """the schedule"""
    k: Positive = 1.0
    """square root of the epochs until it begins to fall"""


class Cosine(Decay):
    """Half a cosine from 1 to a floor at the end of the training, or repeatedly (Loshchilov & Hutter 2017)."""

    name: Literal["cosine"]
    """the schedule"""
    floor: Share = 0.0
    """factor at the end"""
    period: Positive | None = None
    """epochs after which it starts again at 1 (SGDR's warm restarts); null: it lasts until the end of the training"""


class Polynomial(Decay):
    """From 1 to a floor at the end of the training as a power of the share that is left; a straight line by itself."""

    name: Literal["polynomial"]
    """the schedule"""
    power: Positive = 1.0
    """exponent of the share of the training that is left"""
    floor: Share = 0.0
    """factor at the end"""


class OneCycle(WarmedUp):
    """Up to 1 and down again over the whole training (Smith & Topin 2018). By default the rates are those of torch's
    OneCycleLR, whose phases end a step earlier. The momentum stays as it is (torch: `cycle_momentum=False`)."""

    name: Literal["one_cycle"]
    """the schedule"""
    start: Share = 1 / 25
    """factor at the start"""
    peak: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """share of the training after which it is 1"""
    end: Share = 1 / 25e4
    """factor at the end"""
    anneal: Literal["cosine", "linear"] = "cosine"
    """shape of the rise and of the fall"""


def must_rise(rule: str, epochs: tuple[float, ...]) -> None:
    """ValueError with the rule unless each is more than the one before."""
    if any(later <= earlier for earlier, later in pairwise(epochs)):
        raise ValueError(f"{rule}, not {list(epochs)}")


Schedule = Annotated[
    Constant
    | PiecewiseLinear
    | Step
    | MultiStep
    | Exponential
    | InverseTime
    | InverseSqrt
    | Cosine
    | Polynomial
    | OneCycle,
    Field(discriminator="name"),
]
