"""Optimizers from the recipe's knobs: two parameter groups, and float32 masters for bfloat16 weights."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from pipelines.recipe import Recipe
from pipelines.recipe.training import SGD, AdamW


def sgd(groups: list[dict], knobs: SGD) -> torch.optim.Optimizer:
    return torch.optim.SGD(groups, momentum=knobs.momentum, nesterov=knobs.nesterov, fused=True)


def adamw(groups: list[dict], knobs: AdamW) -> torch.optim.Optimizer:
    return torch.optim.AdamW(groups, betas=knobs.betas, eps=knobs.eps, fused=True)


OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {"sgd": sgd, "adamw": adamw}


def parameter_groups(named: Iterable[tuple[str, nn.Parameter]], recipe: Recipe, local_batch_size: int) -> list[dict]:
    """Weights and biases with their rates and decays, as torch's optimizers take them.

    With `loss.reduction: sum` the gradient is local_batch_size times that of the mean loss (DDP takes the mean over the
    processes), so rate and decay are divided and multiplied by it: the weights take the same path.
    """
    knobs = recipe.optimizer
    scale = local_batch_size if recipe.loss.reduction == "sum" else 1
    lr, weight_decay = knobs.lr / scale, knobs.weight_decay * scale
    trained = [(name, parameter) for name, parameter in named if parameter.requires_grad]
    biases = [parameter for name, parameter in trained if name.endswith("bias")]
    weights = [parameter for name, parameter in trained if not name.endswith("bias")]
    groups = [
        {"params": weights, "lr": lr, "weight_decay": weight_decay},
        {
            "params": biases,
            "lr": lr * knobs.bias_lr_factor,
            "weight_decay": weight_decay * knobs.bias_weight_decay_factor,
        },
    ]
    return [{**group, "base_lr": group["lr"]} for group in groups if group["params"]]


def make_optimizer(network: nn.Module, recipe: Recipe, local_batch_size: int) -> "Stepper":
    """The recipe's optimizer over the parameters of `network` that are trained."""
    masters = {
        name: nn.Parameter(parameter.detach().float()) if parameter.dtype == torch.bfloat16 else parameter
        for name, parameter in network.named_parameters()
        if parameter.requires_grad
    }
    groups = parameter_groups(masters.items(), recipe, local_batch_size)
    optimizer = OPTIMIZERS[recipe.optimizer.name](groups, recipe.optimizer)
    trained = dict(network.named_parameters())
    pairs = [(trained[name], master) for name, master in masters.items() if master is not trained[name]]
    return MasterStepper(optimizer, pairs) if pairs else Stepper(optimizer)


class Stepper:
    """An optimizer whose learning rate is set from outside before every step."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer

    def step(self, lr_factor: float) -> None:
        """One step with every group's base rate times `lr_factor`; gradients are dropped."""
        for group in self.optimizer.param_groups:
            group["lr"] = group["base_lr"] * lr_factor
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


class MasterStepper(Stepper):
    """Steps float32 masters of bfloat16 parameters, whose 8 bits would lose most of SGD's small updates.

    pairs: (bfloat16 parameter, its float32 master). Mixed precision with master weights: Micikevicius et al. 2018.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, pairs: list[tuple[nn.Parameter, nn.Parameter]]) -> None:
        super().__init__(optimizer)
        self.parameters: list[Tensor] = [parameter for parameter, _ in pairs]
        self.masters: list[Tensor] = [master for _, master in pairs]

    def step(self, lr_factor: float) -> None:
        for parameter, master in zip(self.parameters, self.masters, strict=True):
            master.grad = None if parameter.grad is None else parameter.grad.float()
            parameter.grad = None
        super().step(lr_factor)
        with torch.no_grad():
            torch._foreach_copy_(self.parameters, self.masters)
