"""Orthogonalisation of matrices by a Newton-Schulz iteration, for the Muon optimizer (Jordan et al. 2024)."""

from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor

QUINTIC = (3.4445, -4.7750, 2.0315)
"""coefficients that bring singular values of (0, 1] close to 1 in few steps, without converging"""
DTYPE = torch.bfloat16
"""what the iteration is computed in"""


def orthogonalize(
    matrices: Sequence[Tensor], steps: int = 3, coefficients: tuple[float, float, float] = QUINTIC
) -> list[Tensor]:
    """Each matrix with all singular values moved towards 1: X ← aX + (bA + cA²)X with A = XXᵀ, `steps` times.

    matrices: of two dimensions and any one floating dtype. Those of one shape are computed in one batch. Works in
    bfloat16, and returns bfloat16.
    """
    groups: dict[torch.Size, list[int]] = defaultdict(list)
    for index, matrix in enumerate(matrices):
        groups[matrix.shape].append(index)
    batches = [matrices[indices[0]].new_empty(len(indices), *shape, dtype=DTYPE) for shape, indices in groups.items()]
    order = [index for indices in groups.values() for index in indices]
    torch._foreach_copy_([place for batch in batches for place in batch], [matrices[index] for index in order])
    norms = [torch.linalg.vector_norm(batch, dim=(1, 2), keepdim=True) for batch in batches]
    torch._foreach_add_(norms, 1e-7)
    results = [
        result
        for batch, norm in zip(batches, norms, strict=True)
        for result in _newton_schulz(batch.div_(norm), steps, coefficients)
    ]
    return [result for _, result in sorted(zip(order, results, strict=True), key=lambda pair: pair[0])]


def _newton_schulz(batch: Tensor, steps: int, coefficients: tuple[float, float, float]) -> Tensor:
    """The iteration on (count, rows, columns) matrices, whose singular values are at most 1."""
    a, b, c = coefficients
    is_tall = batch.shape[1] > batch.shape[2]
    wide = batch.mT if is_tall else batch
    for _ in range(steps):
        gram = wide @ wide.mT
        polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        wide = torch.baddbmm(wide, polynomial, wide, beta=a)
    return wide.mT if is_tall else wide
