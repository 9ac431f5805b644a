"""What each parameter is to the optimizers, and the groups of equal rate and decay that follow from it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from torch import nn

from pipelines.models.layers import PatchWhitening
from pipelines.recipe.optimizers import BiasFactors, DepthFactors, Muon, TrustRatio

WEIGHT, FILTER, HEAD, SCALE, BIAS, WHITENING_BIAS = "weight", "filter", "head", "scale", "bias", "whitening_bias"
MATRICES = {WEIGHT, FILTER, HEAD}
"""Roles that differ in nothing but their rates: a group has one kernel a step, and the role of its first parameter."""
VECTORS = {SCALE, BIAS, WHITENING_BIAS}


@dataclass(frozen=True)
class Trained:
    """A parameter that is trained, as the optimizers see it."""

    parameter: nn.Parameter
    role: str
    depth: int
    """layers after its own"""


Rates = Callable[[Trained], tuple[float, float]]
"""Learning rate and weight decay of a parameter, for the mean loss."""


def role_of(network: nn.Module, name: str) -> str:
    """What a parameter is to the optimizer: every recipe's groups are made of these."""
    parameter = network.get_parameter(name)
    if name.endswith("bias"):
        module = network.get_submodule(name.rpartition(".")[0])
        return WHITENING_BIAS if isinstance(module, PatchWhitening) else BIAS
    if parameter is getattr(getattr(network, "head", None), "weight", None):
        return HEAD
    if parameter.ndim < 2:
        return SCALE
    return FILTER if parameter.ndim == 4 else WEIGHT


def depths(network: nn.Module) -> dict[str, int]:
    """How many layers come after that of each parameter, by the parameter's name.

    A layer is a module with a weight of two or more dimensions, in the order in which the network holds them; what
    follows without one, such as a norm, belongs to it.
    """
    layer, layers = 0, {}
    for name, module in network.named_modules():
        own = dict(module.named_parameters(name, recurse=False))
        layer += any(parameter.ndim > 1 for parameter in own.values())
        layers |= dict.fromkeys(own, layer)
    return {name: layer - number for name, number in layers.items()}


def bias_rates(config: BiasFactors) -> Rates:
    """One rate and decay for all, with factors for the biases."""
    plain = (config.lr, config.weight_decay)
    bias = (config.lr * config.bias_lr_factor, config.weight_decay * config.bias_weight_decay_factor)
    return lambda trained: bias if trained.role == BIAS else plain


def depth_rates(config: DepthFactors) -> Rates:
    """The same, with a factor from each layer to the next: layer-wise rates and decays."""
    of_last_layer = bias_rates(config)

    def rates(trained: Trained) -> tuple[float, float]:
        lr, decay = of_last_layer(trained)
        return lr * config.depth_lr_factor**trained.depth, decay * config.depth_weight_decay_factor**trained.depth

    return rates


def trust_ratio_rates(config: TrustRatio) -> Rates:
    """One rate, with a factor for the biases; no decay for biases and norms."""
    return lambda trained: (
        config.lr * (config.bias_lr_factor if trained.role == BIAS else 1),
        0.0 if trained.role in VECTORS else config.weight_decay,
    )


def muon_rates(config: Muon) -> Rates:
    """Of everything but the filters: one rate for the head and one for the rest, and one decay a step."""

    def rates(trained: Trained) -> tuple[float, float]:
        lr = config.head_lr if trained.role == HEAD else config.bias_lr
        return lr, config.decay / lr

    return rates


def parameter_groups(trained: Iterable[Trained], rates: Rates, gradient_scale: int = 1) -> list[dict]:
    """Groups of equal rate and decay, as torch's optimizers take them; roles that recipes may tell apart are not mixed.

    `gradient_scale` is how many times the gradient of the mean loss the optimizer sees (the batch of one process under
    `loss.reduction: sum`, since DDP takes the mean over the processes): rate and decay are divided and multiplied by
    it, so that the weights take the same path.
    """
    groups: dict[tuple[str, float, float], dict] = {}
    for one in trained:
        lr, decay = rates(one)
        lr, decay = lr / gradient_scale, decay * gradient_scale
        new = {"params": [], "role": one.role, "lr": lr, "base_lr": lr, "weight_decay": decay}
        kind = WEIGHT if one.role in MATRICES else one.role
        groups.setdefault((kind, lr, decay), new)["params"].append(one.parameter)
    return list(groups.values())
