"""The activations that other kernels fuse, each with its derivative."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from kernels.triton_import import jit, tl

FUSED: dict[str | None, Callable[[Tensor, float], Tensor]] = {
    None: lambda values, alpha: values,
    "relu": lambda values, alpha: F.relu(values, inplace=True),
    "celu": lambda values, alpha: F.celu(values, alpha, inplace=True),
    "gelu": lambda values, alpha: F.gelu(values),
    "silu": lambda values, alpha: F.silu(values),
}
"""the definitions, as functions of the values, which they may overwrite, and of CELU's alpha; None: no activation.
GELU and SiLU are not in place, since autograd would copy what they overwrite"""


@jit
def activate(z, alpha, NAME: tl.constexpr):
    """The activation `NAME` of float32 values."""
    if NAME == "relu":
        z = tl.where(z <= 0, 0.0, z)  # so that NaN stays
    elif NAME == "celu":
        z = tl.where(z > 0, z, alpha * (tl.exp(z / alpha) - 1))
    elif NAME == "gelu":
        z = 0.5 * z * (1 + tl.erf(z * 0.7071067811865476))
    elif NAME == "silu":
        z = z / (1 + tl.exp(-z))
    return z


@jit
def derivative(z, alpha, NAME: tl.constexpr):
    """The derivative of the activation `NAME` at float32 values."""
    slope = tl.full(z.shape, 1.0, tl.float32)
    if NAME == "relu":
        slope = tl.where(z <= 0, 0.0, 1.0)
    elif NAME == "celu":
        slope = tl.where(z > 0, 1.0, tl.exp(z / alpha))
    elif NAME == "gelu":
        slope = 0.5 * (1 + tl.erf(z * 0.7071067811865476)) + z * tl.exp(-0.5 * z * z) * 0.3989422804014327
    elif NAME == "silu":
        sigmoid = 1 / (1 + tl.exp(-z))
        slope = sigmoid * (1 + z * (1 - sigmoid))
    return slope
