"""Learning-rate schedules: pure functions from the epochs done so far to a factor. Nothing is ever stepped."""

import math
from bisect import bisect_right
from collections.abc import Callable

import numpy as np

from pipelines.recipe import Recipe, schedules
from pipelines.recipe.techniques import WhiteningBias

ScheduleFunction = Callable[[float], float]

ANNEAL: dict[str, Callable[[float, float, float], float]] = {
    "linear": lambda start, end, share: start + (end - start) * share,
    "cosine": lambda start, end, share: end + (start - end) * (1 + math.cos(math.pi * share)) / 2,
}
"""from `start` to `end` while `share` goes from 0 to 1"""


def constant(config: schedules.Constant, epochs: float) -> ScheduleFunction:
    """1, always."""
    return lambda epoch: 1.0


def piecewise_linear(config: schedules.PiecewiseLinear, epochs: float) -> ScheduleFunction:
    """Straight lines between (epoch, value) knots, level before the first and after the last."""
    return repeated(lambda epoch: float(np.interp(epoch, config.epochs, config.values)), config.period)


def step(config: schedules.Step, epochs: float) -> ScheduleFunction:
    """Times gamma every so many epochs."""
    return lambda epoch: config.gamma ** periods(epoch, config.every)


def multi_step(config: schedules.MultiStep, epochs: float) -> ScheduleFunction:
    """Times gamma from each milestone on."""
    return lambda epoch: config.gamma ** bisect_right(config.milestones, epoch)


def exponential(config: schedules.Exponential, epochs: float) -> ScheduleFunction:
    """gamma^t."""
    return lambda epoch: config.gamma**epoch


def inverse_time(config: schedules.InverseTime, epochs: float) -> ScheduleFunction:
    """1 / (1 + k t)."""
    return lambda epoch: 1 / (1 + config.k * epoch)


def inverse_sqrt(config: schedules.InverseSqrt, epochs: float) -> ScheduleFunction:
    """min(1, k / sqrt(t))."""
    return lambda epoch: config.k / math.sqrt(max(epoch, config.k**2))


def cosine(config: schedules.Cosine, epochs: float) -> ScheduleFunction:
    """Half a cosine from 1 to the floor, over all epochs or over each period."""
    length = config.period or epochs
    return repeated(lambda epoch: ANNEAL["cosine"](1, config.floor, share(epoch, length)), config.period)


def polynomial(config: schedules.Polynomial, epochs: float) -> ScheduleFunction:
    """(1 - t / T)^power, from 1 to the floor."""
    return lambda epoch: config.floor + (1 - config.floor) * (1 - share(epoch, epochs)) ** config.power


def one_cycle(config: schedules.OneCycle, epochs: float) -> ScheduleFunction:
    """From the start to 1 at the peak and down to the end."""
    anneal, peak = ANNEAL[config.anneal], config.peak * epochs

    def factor(epoch: float) -> float:
        if epoch < peak:
            return anneal(config.start, 1, epoch / peak)
        return anneal(1, config.end, share(epoch - peak, epochs - peak))

    return factor


SCHEDULES: dict[str, Callable[..., ScheduleFunction]] = {
    "constant": constant,
    "piecewise_linear": piecewise_linear,
    "step": step,
    "multi_step": multi_step,
    "exponential": exponential,
    "inverse_time": inverse_time,
    "inverse_sqrt": inverse_sqrt,
    "cosine": cosine,
    "polynomial": polynomial,
    "one_cycle": one_cycle,
}
"""from the configuration of a schedule, and the epochs that it has, to its function"""


def make_schedule(recipe: Recipe) -> ScheduleFunction:
    """The factor on the learning rate as a function of the (fractional) number of epochs done.

    A training that is shorter than the warm-up ends within it.
    """
    config = recipe.schedule
    begin = config.warm_up if isinstance(config, schedules.Decay) else 0.0
    after_warm_up = SCHEDULES[config.name](config, recipe.epochs - begin)
    return lambda epoch: warm_up(config, epoch) * after_warm_up(max(0.0, epoch - begin))


def warm_up(config: schedules.WarmedUp, epoch: float) -> float:
    """A straight line from the warm-up's start to 1 at its end, and 1 from there on."""
    return 1.0 if epoch >= config.warm_up else ANNEAL["linear"](config.warm_up_start, 1, epoch / config.warm_up)


def share(epoch: float, epochs: float) -> float:
    """The share of the epochs that is done: from 0 to 1, and then 1. Where no epoch is left by the warm-up: 0."""
    return min(1.0, epoch / epochs) if epochs > 0 else 0.0


def periods(epoch: float, period: float) -> int:
    """Whole periods done, where 0.3 epochs are three periods of 0.1 in spite of their rounding."""
    return math.floor(round(epoch / period, 9))


def repeated(schedule: ScheduleFunction, period: float | None) -> ScheduleFunction:
    """The schedule from its start again after each period; itself where there is none."""
    if period is None:
        return schedule
    return lambda epoch: schedule(max(0.0, epoch - periods(epoch, period) * period))


def whitening_bias_schedule(config: WhiteningBias) -> ScheduleFunction:
    """From 1 to 0 in a straight line over the epochs in which the whitening layer's bias is trained."""
    return lambda epoch: max(0.0, 1 - epoch / config.epochs)
