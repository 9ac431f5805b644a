"""The arithmetic of the sources, written down plainly: networks over dictionaries of weights, and optimizers."""

import math
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

Weights = dict[str, Tensor]
Activation = Callable[[Tensor], Tensor]


def trained(weights: Weights, *frozen: str) -> list[str]:
    """The weights that a gradient is taken of: all but statistics, scales of norms, and those named."""
    return [
        name
        for name, tensor in weights.items()
        if "running" not in name and not (tensor.ndim == 1 and name.endswith("weight")) and name not in frozen
    ]


def gradients(loss: Tensor, weights: Weights, names: list[str]) -> Weights:
    """The gradient of a loss with respect to some weights."""
    return dict(zip(names, torch.autograd.grad(loss, [weights[name] for name in names]), strict=True))


def cloned(weights: Weights) -> Weights:
    """Copies that may be changed in place."""
    return {name: tensor.clone() for name, tensor in weights.items()}


def watched(weights: Weights, names: list[str]) -> Weights:
    """The weights, of which those named record their gradients."""
    return {name: tensor.detach().requires_grad_(name in names) for name, tensor in weights.items()}


def batch_norm(weights: Weights, name: str, images: Tensor, momentum: float, eps: float = 1e-12) -> Tensor:
    """By the batch's mean and biased variance; the statistics of the evaluation get the unbiased one."""
    mean, variance = images.mean((0, 2, 3)), images.var((0, 2, 3), unbiased=False)
    with torch.no_grad():
        unbiased = images.var((0, 2, 3), unbiased=True)
        weights[f"{name}.running_mean"] = (1 - momentum) * weights[f"{name}.running_mean"] + momentum * mean
        weights[f"{name}.running_var"] = (1 - momentum) * weights[f"{name}.running_var"] + momentum * unbiased
    normalised = (images - mean[:, None, None]) / (variance[:, None, None] + eps).sqrt()
    return normalised + weights[f"{name}.bias"][:, None, None]


def airbench_network(
    weights: Weights,
    images: Tensor,
    *,
    momentum: float,
    scale: float,
    depth: int = 2,
    activation: Activation = F.gelu,
    pool: Activation = lambda images: F.max_pool2d(images, 3),
) -> Tensor:
    """Logits in training mode; the statistics in `weights` are moved."""
    images = F.gelu(F.conv2d(images, weights["whiten.weight"], weights.get("whiten.bias")))
    for stage in (f"layers.{number}" for number in (1, 2, 3)):

        def convolution(images: Tensor, number: int, stage: str = stage) -> Tensor:
            return F.conv2d(images, weights[f"{stage}.convolutions.{number}.weight"], padding=1)

        def norm(images: Tensor, number: int, stage: str = stage) -> Tensor:
            return batch_norm(weights, f"{stage}.norms.{number}", images, momentum)

        images = shortcut = activation(norm(F.max_pool2d(convolution(images, 0), 2), 0))
        images = activation(norm(convolution(images, 1), 1))
        if depth == 3:
            images = activation(norm(convolution(images, 2), 2) + shortcut)
    return scale * pool(images).flatten(1) @ weights["head.weight"].T


def celu(values: Tensor, alpha: float) -> Tensor:
    """max(0, x) + min(0, alpha (exp(x / alpha) - 1))."""
    return values.clamp(min=0) + alpha * torch.expm1(values.clamp(max=0) / alpha)


def davidnet(weights: Weights, images: Tensor, group_size: int) -> Tensor:
    """Logits in training mode of new_dawn.py's network: whitening, ghost norm, CELU 0.3, max-pool before the norm."""

    def block(name: str, images: Tensor, padding: int = 1, *, pool: bool = False) -> Tensor:
        images = F.conv2d(images, weights[f"{name}.layers.0.weight"], padding=padding)
        images = F.max_pool2d(images, 2) if pool else images
        return celu(ghost_norm(weights, f"{name}.layers.1", images, group_size), 0.3)

    images = F.conv2d(images, weights["whiten.weight"], padding=1)
    images = block("layers.0", images, padding=0)
    images = block("layers.1", images, pool=True)
    images = images + block("layers.2.branch.1", block("layers.2.branch.0", images))
    images = block("layers.4", block("layers.3", images, pool=True), pool=True)
    images = images + block("layers.5.branch.1", block("layers.5.branch.0", images))
    return F.max_pool2d(images, 4).flatten(1) @ weights["head.weight"].T / 16


def ghost_norm(weights: Weights, name: str, images: Tensor, group_size: int) -> Tensor:
    """Batch norm of each group; the statistics are the mean over the groups' own, which all start alike."""
    parts, groups = [], images.split(group_size)
    means, variances = weights[f"{name}.running_mean"], weights[f"{name}.running_var"]
    for group in groups:
        own = {**weights, f"{name}.running_mean": means, f"{name}.running_var": variances}
        parts.append(batch_norm(own, name, group, 0.1, 1e-5))
        for statistic in ("running_mean", "running_var"):
            key = f"{name}.{statistic}"
            weights[f"sum of {key}"] = weights.get(f"sum of {key}", 0) + own[key] / len(groups)
    for statistic in ("running_mean", "running_var"):
        key = f"{name}.{statistic}"
        weights[key] = weights.pop(f"sum of {key}")
    return torch.cat(parts)


def nesterov(weight: Tensor, gradient: Tensor, buffer: Tensor, lr: float, decay: float, momentum: float) -> None:
    """torch's: the rate multiplies the buffer when it is applied. All in place."""
    gradient = gradient + decay * weight
    buffer.mul_(momentum).add_(gradient)
    weight.sub_(lr * (gradient + momentum * buffer))


def nesterov_inside(weight: Tensor, gradient: Tensor, buffer: Tensor, lr: float, decay: float, momentum: float) -> None:
    """Page's: the rate multiplies each gradient when it enters the buffer."""
    step = -lr * (gradient + decay * weight)
    buffer.mul_(momentum).add_(step)
    weight.add_(step + momentum * buffer)


def newton_schulz(
    matrix: Tensor, coefficients: tuple[float, float, float], eps: float, target: float | None = None
) -> Tensor:
    """Three quintic iterations on a matrix; `target`: the norm that hiverge and E1 give it before they take it away."""
    a, b, c = coefficients
    if target is not None:
        matrix = matrix * (target / (matrix.norm() + eps))
    matrix = matrix / (matrix.norm() + eps)
    is_tall = len(matrix) > matrix.shape[1]
    matrix = matrix.T if is_tall else matrix
    for _ in range(3):
        gram = matrix @ matrix.T
        matrix = a * matrix + (b * gram + c * gram @ gram) @ matrix
    return matrix.T if is_tall else matrix


def lookahead(slow: Weights, weights: Weights, decay: float) -> None:
    """slow = decay slow + (1 - decay) fast; fast = slow."""
    for name, tensor in weights.items():
        slow[name] = decay * slow[name] + (1 - decay) * tensor.detach()
        weights[name] = slow[name].clone()


def triangle(steps: int, warm_up: int, end: float) -> Iterator[float]:
    """airbench's factor on the rate at each step: from 0.2 to 1 in `warm_up` steps, then to `end` in the others."""
    for step in range(steps):
        if step < warm_up:
            share = step / warm_up
            yield 0.2 * (1 - share) + share
        else:
            share = (step - warm_up) / (steps - warm_up)
            yield 1 - share + end * share


def page(knots: tuple[float, ...], values: tuple[float, ...], steps: int, steps_per_epoch: int) -> Iterator[float]:
    """cifar10-fast's: straight lines between knots in epochs, looked up one step late."""
    for step in range(1, steps + 1):
        epoch = step / steps_per_epoch
        if epoch >= knots[-1]:
            yield values[-1]
            continue
        place = next(number for number, knot in enumerate(knots[1:]) if epoch < knot)
        share = (epoch - knots[place]) / (knots[place + 1] - knots[place])
        yield values[place] + share * (values[place + 1] - values[place])


def renormalized_at(steps: int, total: int) -> set[int]:
    """The steps, from 1, before which hiverge scales its filters: 2 + 15 progress steps after the last time."""
    due, last = set(), 0
    for step in range(1, steps + 1):
        if step - last >= 2 + math.floor(15 * step / total):
            due.add(step)
            last = step
    return due
