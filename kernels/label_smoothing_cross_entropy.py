"""Cross-entropy with label smoothing (Szegedy et al. 2016), its gradient made on the way."""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from kernels.choice import is_for_triton
from kernels.triton_import import jit, tl, triton

MOST_CLASSES = 4096
"""that a program holds at once"""
TILE = 1024
"""logits of a program, if there are fewer classes"""

Reduction = Literal["mean", "sum"]


def label_smoothing_cross_entropy(
    logits: Tensor, labels: Tensor, smoothing: float = 0.0, reduction: Reduction = "mean"
) -> Tensor:
    """A scalar, float32: the cross-entropy of each row, its target `smoothing` spread evenly and the rest on the label.

    logits: (N, classes) in any floating dtype; labels: (N,), int64, each in [0, classes).
    """
    is_plain = labels.dtype == torch.int64 and logits.dim() == 2 and logits.shape[1] <= MOST_CLASSES
    version = fused if is_plain and is_for_triton("label_smoothing_cross_entropy", logits) else reference
    return version(logits, labels, smoothing, reduction)


def reference(logits: Tensor, labels: Tensor, smoothing: float = 0.0, reduction: Reduction = "mean") -> Tensor:
    """The definition."""
    return F.cross_entropy(logits.float(), labels, reduction=reduction, label_smoothing=smoothing)


@jit
def _losses_and_gradient(
    logits, labels, losses, gradient, rows, classes, by_row, by_class, smoothing, weight,
    SMOOTH: tl.constexpr, ROWS: tl.constexpr, CLASSES: tl.constexpr,
):  # fmt: skip
    """The loss of each row, and the gradient of `weight` times their sum."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, CLASSES)
    is_class = (column < classes)[None, :]
    inside = (row < rows)[:, None] & is_class
    places = row[:, None].to(tl.int64) * by_row + column[None, :] * by_class
    values = tl.load(logits + places, inside, float("-inf")).to(tl.float32)
    label = tl.load(labels + row, row < rows, 0)
    is_label = column[None, :] == label[:, None]
    # the rows past the end are zeros, so that nothing is undefined in them
    values = tl.where((row < rows)[:, None], values, 0.0)
    shifted = values - tl.max(values, 1)[:, None]
    powers = tl.exp(shifted)
    total = tl.sum(powers, 1)
    log_total = tl.log(total)
    loss = log_total - tl.sum(tl.where(is_label, shifted, 0.0), 1)
    target = tl.where(is_label, 1.0, 0.0)
    if SMOOTH:
        evenly = log_total - tl.sum(tl.where(is_class, shifted, 0.0), 1) / classes
        loss = (1 - smoothing) * loss + smoothing * evenly
        target = (1 - smoothing) * target + smoothing / classes
    tl.store(losses + row, loss * weight, row < rows)
    tl.store(gradient + row[:, None] * classes + column[None, :], (powers / total[:, None] - target) * weight, inside)


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor, smoothing: float, reduction: Reduction) -> Tensor:
        rows, classes = logits.shape
        block = triton.next_power_of_2(classes)
        blocks = {"ROWS": max(TILE // block, 1), "CLASSES": block}
        losses = logits.new_empty(rows, dtype=torch.float32)
        gradient = logits.new_empty(rows, classes, dtype=torch.float32)
        weight = 1 / rows if reduction == "mean" else 1.0
        _losses_and_gradient[(triton.cdiv(rows, blocks["ROWS"]),)](
            logits, labels.contiguous(), losses, gradient, rows, classes, *logits.stride(), smoothing, weight,
            SMOOTH=smoothing > 0, **blocks,
        )  # fmt: skip
        ctx.save_for_backward(gradient)
        ctx.dtype = logits.dtype
        return losses.sum()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        scaled = torch.empty_like(gradient, dtype=ctx.dtype)
        torch.mul(gradient, upstream, out=scaled)  # rounds once, after the scale that keeps float16 from underflow
        return scaled, None, None, None


def fused(logits: Tensor, labels: Tensor, smoothing: float = 0.0, reduction: Reduction = "mean") -> Tensor:
    """In Triton, for float32, float16 or bfloat16 logits: one pass makes the losses and the gradient."""
    return _Fused.apply(logits, labels, smoothing, reduction)
