"""Orthogonalisation of matrices by a Newton-Schulz iteration, for the Muon optimizer (Jordan et al. 2024)."""

from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor

Polynomial = tuple[float, float, float]
"""a, b and c of ax + bx³ + cx⁵, which an iteration applies to the singular values"""
QUINTIC: Polynomial = (3.4445, -4.7750, 2.0315)
"""brings singular values of (0, 1] close to 1 in few iterations, without converging"""
SAFETY = 1.01
"""how much larger than 1 rounding may make a singular value"""
POLAR_EXPRESS: tuple[Polynomial, ...] = (
    *(
        (a / SAFETY, b / SAFETY**3, c / SAFETY**5)
        for a, b, c in (
            (8.28721201814563, -23.595886519098837, 17.300387312530933),
            (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
            (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
            (3.3184196573706015, -2.488488024314874, 0.51004894012372),
            (2.300652019954817, -1.6689039845747493, 0.4188073119525673),
            (1.891301407787398, -1.2679958271945868, 0.37680408948524835),
            (1.8750014808534479, -1.2500016453999487, 0.3750001645474248),
        )
    ),
    (1.875, -1.25, 0.375),
)
"""of one iteration after the other, each the best after those before it for singular values of [0.001, 1]; later
iterations repeat the last (Amsel et al. 2025, arXiv 2505.16932, Algorithm 1, which divides the matrix by SAFETY too)"""


def orthogonalize(
    matrices: Sequence[Tensor],
    polynomials: Sequence[Polynomial] = (QUINTIC, QUINTIC, QUINTIC),
    dtype: torch.dtype = torch.bfloat16,
) -> list[Tensor]:
    """Each matrix with all singular values moved towards 1: X ← aX + (bA + cA²)X with A = XXᵀ for each polynomial.

    matrices: of two dimensions and any one floating dtype. Those of one shape are computed in one batch.
    dtype: what is computed in, and returned; bfloat16 as published.
    """
    groups: dict[torch.Size, list[int]] = defaultdict(list)
    for index, matrix in enumerate(matrices):
        groups[matrix.shape].append(index)
    batches = [matrices[indices[0]].new_empty(len(indices), *shape, dtype=dtype) for shape, indices in groups.items()]
    order = [index for indices in groups.values() for index in indices]
    torch._foreach_copy_([place for batch in batches for place in batch], [matrices[index] for index in order])
    norms = [torch.linalg.vector_norm(batch, dim=(1, 2), keepdim=True) for batch in batches]
    torch._foreach_add_(norms, 1e-7)
    scaled = [batch.div_(norm) for batch, norm in zip(batches, norms, strict=True)]
    results = [result for batch in _newton_schulz(scaled, polynomials) for result in batch]
    return [result for _, result in sorted(zip(order, results, strict=True), key=lambda pair: pair[0])]


def _newton_schulz(batches: Sequence[Tensor], polynomials: Sequence[Polynomial]) -> list[Tensor]:
    """The iteration on batches of (count, rows, columns) matrices, whose singular values are at most 1.

    `torch.baddbmm` copies what it adds to, unless the result goes into it. To copy all batches at once is one kernel.
    """
    is_tall = [batch.shape[1] > batch.shape[2] for batch in batches]
    wide = [batch.mT if tall else batch for batch, tall in zip(batches, is_tall, strict=True)]
    for a, b, c in polynomials:
        grams = [torch.bmm(x, x.mT) for x in wide]
        copies = [torch.empty_like(tensor) for tensor in (*grams, *wide)]
        torch._foreach_copy_(copies, [*grams, *wide])
        factors, results = copies[: len(grams)], copies[len(grams) :]
        for x, gram, factor, result in zip(wide, grams, factors, results, strict=True):
            torch.baddbmm(factor, gram, gram, beta=b, alpha=c, out=factor)
            torch.baddbmm(result, factor, x, beta=a, out=result)
        wide = results
    return [x.mT if tall else x for x, tall in zip(wide, is_tall, strict=True)]
