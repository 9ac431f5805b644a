"""A 2x2 max-pool, ghost batch norm and activation, in the order of post 8 of "How to train your ResNet" (Page 2019)."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from kernels import ghost_batch_norm
from kernels.choice import is_for_triton
from kernels.ghost_batch_norm_launch import MOST_GROUPS, pooled_and_fused
from kernels.grouping import Grouping


def pooled_ghost_batch_norm(
    images: Tensor, scale: Tensor, bias: Tensor, running_mean: Tensor, running_var: Tensor, grouping: Grouping
) -> Tensor:
    """The maximum of every 2x2 pixels, then `kernels.ghost_batch_norm.ghost_batch_norm`, whose arguments these are.

    images: (N, C, H, W), of whose odd height or width the last line or column is left out.
    Returns (N, C, H // 2, W // 2), like `images`.
    """
    groups = -(-len(images) // grouping.size)
    is_plain = images.dim() == 4 and min(images.shape[2:]) > 1 and groups <= MOST_GROUPS
    is_fused = is_plain and scale.dtype == torch.float32 and is_for_triton("pooled_ghost_batch_norm", images)
    version = pooled_and_fused if is_fused else composed
    return version(images, scale, bias, running_mean, running_var, grouping)


def reference(images: Tensor, *arguments: Any) -> Tensor:
    """The definition."""
    return ghost_batch_norm.reference(F.max_pool2d(images, 2), *arguments)


def composed(images: Tensor, *arguments: Any) -> Tensor:
    """torch's pool, and the norm by itself."""
    return ghost_batch_norm.ghost_batch_norm(F.max_pool2d(images, 2), *arguments)
