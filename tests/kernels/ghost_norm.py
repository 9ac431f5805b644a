"""What the tests of ghost batch norm, alone and after a pool, have in common."""

import torch
from torch import nn

from kernels.grouping import Grouping
from tests.kernels.versions import DEVICE, error

EPS = 1e-2  # large, so that a group of two like pixels does not blow up what is rounded
ALPHA = 0.3
ACTIVATIONS = {
    None: nn.Identity(),
    "relu": nn.ReLU(),
    "celu": nn.CELU(ALPHA),
    "gelu": nn.GELU(),
    "silu": nn.SiLU(),
}


def draw(shape, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(shape, generator=generator, dtype=torch.float64) * 3 + 1
    scale, bias = (torch.randn(shape[1], generator=generator, dtype=torch.float64) for _ in range(2))
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    return images.to(DEVICE, dtype), scale.to(DEVICE, wide), bias.to(DEVICE, wide)


def run(version, tensors, group_size, activation=None, momentum=1.0):
    """The normalised images, and running statistics that began at 0 and 1."""
    images, scale, bias = tensors
    running = torch.zeros_like(scale.detach()), torch.ones_like(scale.detach())
    outputs = version(images, scale, bias, *running, Grouping(group_size, momentum, EPS, activation, ALPHA))
    return outputs, *running


def group_by_group(tensors, group_size, activation=None):
    """A BatchNorm2d of its own for every group, in float64; also the means over the groups of their statistics."""
    images, scale, bias = tensors
    layers, outputs = [], []
    for group in images.double().split(group_size):
        layer = nn.BatchNorm2d(images.shape[1], eps=EPS, momentum=1.0, dtype=torch.float64, device=images.device)
        del layer.weight, layer.bias
        layer.weight, layer.bias = scale.double(), bias.double()
        outputs.append(ACTIVATIONS[activation](layer(group)))
        layers.append(layer)
    means, variances = ([getattr(layer, name) for layer in layers] for name in ("running_mean", "running_var"))
    return torch.cat(outputs), torch.stack(means).mean(0), torch.stack(variances).mean(0)


def check(version, dtype, shape, group_size, memory_format, activation, seed, tolerance, before=None):
    """Outputs, statistics and gradients against torch's batch norm in float64, after what comes before it."""
    images, scale, bias = draw(shape, dtype, seed)
    images = images.to(memory_format=memory_format)
    tensors = [tensor.requires_grad_() for tensor in (images, scale, bias)]
    results = run(version, tensors, group_size, activation)
    expected = group_by_group((before(images) if before else images, scale, bias), group_size, activation)
    seen = draw(results[0].shape, dtype, seed + 1)[0]
    assert results[0].dtype == dtype
    gradients = torch.autograd.grad(results[0], tensors, seen)
    assert [gradient.dtype for gradient in gradients] == [tensor.dtype for tensor in tensors]
    wanted = torch.autograd.grad(expected[0], tensors, seen.double())
    for one, other in zip((*results, *gradients), (*expected, *wanted), strict=True):
        assert error(one, other) < tolerance
