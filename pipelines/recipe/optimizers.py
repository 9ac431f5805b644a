"""The knobs of the optimizers. Rates and decays are for the mean loss of the global batch."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipelines.recipe.knobs import Knobs, Momentum, NonNegative, Positive


class SGD(Knobs):
    """Stochastic gradient descent with momentum."""

    name: Literal["sgd"]
    """the optimizer"""
    lr: Positive
    """learning rate where the schedule is 1, for the mean loss of the global batch"""
    momentum: Momentum = 0.9
    """momentum, without dampening"""
    nesterov: bool = True
    """Nesterov's form of the momentum"""
    weight_decay: NonNegative = 0.0
    """L2 penalty added to the gradient, for the mean loss"""
    bias_lr_factor: Positive = 1.0
    """learning rate of the biases over that of the weights"""
    bias_weight_decay_factor: NonNegative = 1.0
    """weight decay of the biases over that of the weights"""

    @model_validator(mode="after")
    def _nesterov_has_momentum(self) -> "SGD":
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov=true needs a momentum above 0; say nesterov=false")
        return self


class AdamW(Knobs):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019)."""

    name: Literal["adamw"]
    """the optimizer"""
    lr: Positive = 1e-3
    """learning rate where the schedule is 1"""
    betas: tuple[Momentum, Momentum] = (0.9, 0.999)
    """decay of the gradient's and of its square's running mean"""
    eps: Positive = 1e-8
    """added to the denominator"""
    weight_decay: NonNegative = 1e-2
    """decoupled weight decay, times the learning rate"""
    bias_lr_factor: Positive = 1.0
    """learning rate of the biases over that of the weights"""
    bias_weight_decay_factor: NonNegative = 1.0
    """weight decay of the biases over that of the weights"""


class Muon(Knobs):
    """Muon (Jordan et al. 2024) for the convolutions, Nesterov SGD for everything else, as in airbench94_muon."""

    name: Literal["muon"]
    """the optimizer"""
    lr: Positive
    """learning rate of the filters where the schedule is 1; their update is orthogonal, whatever the loss's scale"""
    momentum: Momentum = 0.6
    """Nesterov momentum of the filters"""
    steps: Annotated[int, Field(ge=1)] = 3
    """Newton-Schulz iterations a step"""
    coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315)
    """of the Newton-Schulz polynomial"""
    renormalize_every: Annotated[int, Field(ge=1)] = 1
    """steps between two scalings of every filter tensor to a norm of the square root of its output channels"""
    sgd_momentum: Momentum = 0.85
    """Nesterov momentum of everything else"""
    bias_lr: Positive
    """learning rate of the biases, for the mean loss"""
    head_lr: Positive
    """learning rate of the last layer, for the mean loss"""
    decay: NonNegative = 0.0
    """weight decay of everything but the filters, times the learning rate: what a step takes off a weight"""


Optimizer = Annotated[SGD | AdamW | Muon, Field(discriminator="name")]
