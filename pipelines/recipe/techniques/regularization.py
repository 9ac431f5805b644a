"""Limits on weights, gradients and activations."""

from pydantic import model_validator

from pipelines.recipe.config import NonNegative, Positive
from pipelines.recipe.networks import Dropout
from pipelines.recipe.techniques.technique import Technique


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
