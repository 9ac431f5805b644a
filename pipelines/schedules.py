"""Learning-rate schedules: pure functions from the epochs done so far to a factor. Nothing is ever stepped."""

from collections.abc import Callable

import numpy as np

from pipelines.recipe.training import Constant, PiecewiseLinear, Schedule

ScheduleFunction = Callable[[float], float]


def constant(knobs: Constant) -> ScheduleFunction:
    """1, always."""
    return lambda epoch: 1.0


def piecewise_linear(knobs: PiecewiseLinear) -> ScheduleFunction:
    """Straight lines between (epoch, value) knots, level before the first and after the last."""
    return lambda epoch: float(np.interp(epoch, knobs.epochs, knobs.values))


SCHEDULES: dict[str, Callable[..., ScheduleFunction]] = {"constant": constant, "piecewise_linear": piecewise_linear}


def make_schedule(knobs: Schedule) -> ScheduleFunction:
    """The factor on the learning rate as a function of the (fractional) number of epochs done."""
    return SCHEDULES[knobs.name](knobs)


def learning_rate_factors(knobs: Schedule, steps: int, steps_per_epoch: int) -> list[float]:
    """The factor at each step of a training: step 0 is at 0 epochs, and so on."""
    schedule = make_schedule(knobs)
    return [schedule(step / steps_per_epoch) for step in range(steps)]
