"""Gradient clipping, by norm or by value (Pascanu, Mikolov & Bengio 2013, arXiv 1211.5063)."""

import torch
from torch import nn
from torch.nn.utils import clip_grad_value_, clip_grads_with_norm_

from pipelines.events import State
from pipelines.recipe import techniques


@torch.no_grad()
def clip_norm(parameters: list[nn.Parameter], limit: float) -> None:
    """Scale all gradients by one factor such that their common norm, computed in float32, is at most `limit`."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norms = torch._foreach_norm(gradients, 2, torch.float32)  # a sum of half-precision squares overflows or stalls
    clip_grads_with_norm_(parameters, limit, torch.linalg.vector_norm(torch.stack(norms)))


class GradientClipping:
    """Clips what the optimizer is about to see."""

    def __init__(self, config: techniques.GradientClipping) -> None:
        self._clip = clip_grad_value_ if config.norm is None else clip_norm
        self._limit = config.value if config.norm is None else config.norm

    def trial_start(self, state: State) -> None:
        self._parameters = [parameter for parameter in state.network.parameters() if parameter.requires_grad]
        self._scaled_limit = self._limit * state.gradient_scale

    def gradients_ready(self, state: State) -> None:
        self._clip(self._parameters, self._scaled_limit)
