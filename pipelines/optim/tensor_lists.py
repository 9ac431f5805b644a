"""Operations over lists of tensors, one pass for each dtype: `torch._foreach_*` goes tensor by tensor where a list has
several."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor


def by_dtype(*lists: Sequence[Tensor]) -> Iterator[list[list[Tensor]]]:
    """The lists, all of one length, cut into parts in each of which a list has one dtype."""
    parts: dict[tuple[torch.dtype, ...], list[list[Tensor]]] = defaultdict(lambda: [[] for _ in lists])
    for row in zip(*lists, strict=True):
        for part, tensor in zip(parts[tuple(tensor.dtype for tensor in row)], row, strict=True):
            part.append(tensor)
    yield from parts.values()


@torch.no_grad()
def copy(targets: Sequence[Tensor], sources: Sequence[Tensor]) -> None:
    """Overwrite each target by its source, cast to the target's dtype."""
    for part_of_targets, part_of_sources in by_dtype(targets, sources):
        torch._foreach_copy_(part_of_targets, part_of_sources)


@torch.no_grad()
def cast(tensors: Sequence[Tensor], dtype: torch.dtype) -> list[Tensor]:
    """The tensors in `dtype`; those that have it are returned as they are."""
    results = [t if t.dtype == dtype else torch.empty_like(t, dtype=dtype) for t in tensors]
    changed = [(result, tensor) for result, tensor in zip(results, tensors, strict=True) if result is not tensor]
    if changed:
        copy(*zip(*changed, strict=True))
    return results
