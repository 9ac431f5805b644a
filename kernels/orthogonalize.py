"""Orthogonalisation of matrices by a Newton-Schulz iteration, as the Muon optimizer wants it (Jordan et al. 2024)."""

import torch
from torch import Tensor

QUINTIC = (3.4445, -4.7750, 2.0315)
"""coefficients that bring singular values of (0, 1] close to 1 in few steps, without converging"""


def orthogonalize(matrices: Tensor, steps: int = 3, coefficients: tuple[float, float, float] = QUINTIC) -> Tensor:
    """Each matrix with all singular values moved towards 1: X ← aX + (bA + cA²)X with A = XXᵀ, `steps` times.

    matrices: (..., rows, columns), any floating dtype. Works in bfloat16, and returns bfloat16.
    """
    a, b, c = coefficients
    wide = matrices.bfloat16()
    is_tall = wide.shape[-2] > wide.shape[-1]
    if is_tall:
        wide = wide.mT
    wide = wide / (torch.linalg.vector_norm(wide, dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = wide @ wide.mT
        wide = a * wide + (b * gram + c * gram @ gram) @ wide
    return wide.mT if is_tall else wide
