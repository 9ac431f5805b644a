"""The optimizers. Rates and decays are for the mean loss of the global batch."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from pipelines.recipe.config import Config, Momentum, NonNegative, Positive


class OptimizerConfig(Config):
    """What every optimizer has. The class variables state what is true of the optimizer itself."""

    name: str
    """the optimizer"""

    scale_free: ClassVar[bool] = False
    """it divides the gradient's scale out: a loss times a constant takes the weights the same way"""
    needs_whole_tensors: ClassVar[bool] = False
    """it looks at whole tensors, where others go number by number"""


class BiasFactors(OptimizerConfig):
    """Optimizers with one rate for all, and factors for the biases."""

    lr: Positive
    """learning rate where the schedule is 1"""
    weight_decay: NonNegative = 0.0
    """L2 penalty added to the gradient"""
    bias_lr_factor: Positive = 1.0
    """learning rate of the biases over that of the weights; the bias of a whitening layer counts as a weight"""
    bias_weight_decay_factor: NonNegative = 1.0
    """weight decay of the biases over that of the weights; likewise"""


class DepthFactors(BiasFactors):
    """Factors for the layers, too: layer-wise rates and decays. A norm belongs to the layer before it, under
    `model.name: airnet` to the last layer of its stage."""

    depth_lr_factor: Positive = 1.0
    """learning rate of a layer over that of the next one: d layers before the last, the rate is times this to the d"""
    depth_weight_decay_factor: Positive = 1.0
    """weight decay of a layer over that of the next one"""


class SGD(DepthFactors):
    """Stochastic gradient descent with momentum."""

    name: Literal["sgd"]
    """the optimizer"""
    lr: Positive
    """learning rate where the schedule is 1, for the mean loss of the global batch"""
    momentum: Momentum = 0.9
    """momentum, without dampening"""
    nesterov: bool = True
    """Nesterov's form of the momentum"""
    momentum_convention: Literal["torch", "sutskever"] = "torch"
    """whether the learning rate multiplies the momentum buffer when it is applied (torch.optim.SGD), or each gradient
    when it enters the buffer (Sutskever et al. 2013, cifar10-fast); they differ where the learning rate changes"""
    weight_decay: NonNegative = 0.0
    """L2 penalty added to the gradient, for the mean loss"""

    @model_validator(mode="after")
    def _nesterov_has_momentum(self) -> "SGD":
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov=true needs a momentum above 0; set nesterov=false")
        if self.momentum_convention != "torch" and not self.momentum:
            raise ValueError("momentum_convention=sutskever needs a momentum above 0; set momentum_convention=torch")
        return self


class Adam(DepthFactors):
    """Adam (Kingma & Ba 2015)."""

    scale_free = True

    name: Literal["adam"]
    """the optimizer"""
    lr: Positive = 1e-3
    """learning rate where the schedule is 1"""
    betas: tuple[Momentum, Momentum] = (0.9, 0.999)
    """decay of the gradient's and of its square's running mean"""
    eps: Positive = 1e-8
    """added to the denominator"""


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019)."""

    name: Literal["adamw"]
    """the optimizer"""
    weight_decay: NonNegative = 1e-2
    """decoupled weight decay, times the learning rate"""


class RMSProp(BiasFactors):
    """The gradient over a running mean of its size (Tieleman & Hinton 2012)."""

    scale_free = True

    name: Literal["rmsprop"]
    """the optimizer"""
    lr: Positive = 1e-2
    """learning rate where the schedule is 1"""
    alpha: Momentum = 0.99
    """decay of the squared gradient's running mean"""
    eps: Positive = 1e-8
    """added to the denominator"""
    momentum: Momentum = 0.0
    """momentum of the step"""
    centered: bool = False
    """subtract the square of the mean gradient from the mean of its squares"""


class Adadelta(BiasFactors):
    """RMSProp whose step has the units of the weights (Zeiler 2012)."""

    scale_free = True

    name: Literal["adadelta"]
    """the optimizer"""
    lr: Positive = 1.0
    """factor on the step where the schedule is 1"""
    rho: Momentum = 0.9
    """decay of the running means of the squared gradient and the squared step"""
    eps: Positive = 1e-6
    """added to both means"""


class TrustRatio(OptimizerConfig):
    """What LARS and LAMB have: the step of each weight tensor is in proportion to its norm; biases and norms are exempt
    from that and from weight decay."""

    scale_free = True
    needs_whole_tensors = True

    lr: Positive
    """learning rate where the schedule is 1"""
    weight_decay: NonNegative = 0.0
    """weight decay of all but biases and norms"""
    bias_lr_factor: Positive = 1.0
    """learning rate of the biases over that of the weights"""


class LARS(TrustRatio):
    """SGD with layer-wise adaptive rates for very large batches (You et al. 2017)."""

    name: Literal["lars"]
    """the optimizer"""
    momentum: Momentum = 0.9
    """momentum of the step, learning rate included"""
    trust: Positive = 1e-3
    """norm of a tensor's step over that of the tensor, where the learning rate is 1"""


class LAMB(TrustRatio):
    """Adam with layer-wise adaptive rates for very large batches (You et al. 2020)."""

    name: Literal["lamb"]
    """the optimizer"""
    betas: tuple[Momentum, Momentum] = (0.9, 0.999)
    """decay of the gradient's and of its square's running mean"""
    eps: Positive = 1e-6
    """added to the denominator"""
    weight_decay: NonNegative = 1e-2
    """decoupled weight decay of all but biases and norms, within the norm of the step"""


class Muon(OptimizerConfig):
    """Muon (Jordan et al. 2024) for the convolutions, Nesterov SGD for everything else, as in airbench94_muon."""

    needs_whole_tensors = True

    name: Literal["muon"]
    """the optimizer"""
    lr: Positive
    """learning rate of the filters where the schedule is 1; their update does not depend on the loss's scale"""
    momentum: Momentum = 0.6
    """Nesterov momentum of the filters"""
    steps: Annotated[int, Field(ge=1)] = 3
    """Newton-Schulz iterations a step"""
    coefficients: Literal["polar_express"] | tuple[float, float, float] = (3.4445, -4.7750, 2.0315)
    """of the Newton-Schulz polynomial of all iterations, or `polar_express` for one polynomial for each (Amsel et al.
    2025)"""
    renormalize_every: Annotated[int, Field(ge=1)] = 1
    """steps between two scalings of every filter tensor to a norm of the square root of its output channels"""
    renormalize_growth: NonNegative = 0.0
    """that interval is longer by this share of the steps done, rounded down (hiverge)"""
    filter_decay: NonNegative = 0.0
    """decoupled weight decay of the filters, times their learning rate"""
    sgd_momentum: Momentum = 0.85
    """Nesterov momentum of everything else"""
    bias_lr: Positive
    """learning rate of everything but the filters and the last layer, for the mean loss: of biases, norms, and linear
    layers before the last"""
    head_lr: Positive
    """learning rate of the last layer, for the mean loss"""
    decay: NonNegative = 0.0
    """weight decay of everything but the filters, times the learning rate: what a step takes off a weight"""


Optimizer = Annotated[
    SGD | AdamW | Muon | Adam | RMSProp | Adadelta | LARS | LAMB,
    Field(discriminator="name"),
]
