"""Learning-rate schedules: pure functions from the epochs done so far to a factor. Nothing is ever stepped."""

from collections.abc import Callable

import numpy as np

from pipelines.recipe import Recipe
from pipelines.recipe.schedules import Constant, PiecewiseLinear
from pipelines.recipe.techniques import WhiteningBias

ScheduleFunction = Callable[[float], float]


def constant(knobs: Constant) -> ScheduleFunction:
    """1, always."""
    return lambda epoch: 1.0


def piecewise_linear(knobs: PiecewiseLinear) -> ScheduleFunction:
    """Straight lines between (epoch, value) knots, level before the first and after the last."""
    return lambda epoch: float(np.interp(epoch, knobs.epochs, knobs.values))


SCHEDULES: dict[str, Callable[..., ScheduleFunction]] = {"constant": constant, "piecewise_linear": piecewise_linear}


def make_schedule(recipe: Recipe) -> ScheduleFunction:
    """The factor on the learning rate as a function of the (fractional) number of epochs done."""
    return SCHEDULES[recipe.schedule.name](recipe.schedule)


def whitening_bias_schedule(knobs: WhiteningBias) -> ScheduleFunction:
    """From 1 to 0 in a straight line over the epochs in which the whitening layer's bias is trained."""
    return lambda epoch: max(0.0, 1 - epoch / knobs.epochs)
