"""Learning rates for batches of another size than the recipe's rate was found for (Goyal et al. 2017)."""

import math

from pipelines.optim.schedules import ScheduleFunction
from pipelines.recipe import Recipe
from pipelines.recipe.parallel import Scaling

RULES = {"linear": lambda k: k, "sqrt": math.sqrt, "none": lambda k: 1.0}


def scaling_factor(config: Scaling, batch_size: int) -> ScheduleFunction:
    """The factor on the learning rate as a function of the epochs done: 1 at the reference batch.

    A warm-up never starts above its end: under the reference batch the rate is the scaled one from the first step.
    """
    full = RULES[config.lr](batch_size / config.reference_batch)
    start = min(1.0, full)

    def factor(epoch: float) -> float:
        if epoch >= config.warmup_epochs or config.warmup == "none":
            return full
        return start + (full - start) * epoch / config.warmup_epochs if config.warmup == "gradual" else start

    return factor


def scaled(schedule: ScheduleFunction, recipe: Recipe) -> ScheduleFunction:
    """The schedule times the recipe's scaling, if it has any."""
    if recipe.scaling is None:
        return schedule
    factor = scaling_factor(recipe.scaling, recipe.batch_size)
    return lambda epoch: schedule(epoch) * factor(epoch)
