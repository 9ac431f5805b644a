"""The order of an epoch: equal on all processes, each of which takes its slice of every batch."""

import torch
from torch import Tensor


def shuffled_batches(
    count: int, batch_size: int, generator: torch.Generator, *, drop_last: bool, rank: int = 0, world_size: int = 1
) -> list[Tensor]:
    """Indices of this process's images of each batch of an epoch over `count` images, shuffled by `generator`.

    `batch_size` is that of all processes together; `drop_last` leaves out the images that do not fill a batch.
    """
    order = torch.randperm(count, generator=generator, device=generator.device)
    if drop_last:
        order = order[: count // batch_size * batch_size]
    return [batch.tensor_split(world_size)[rank] for batch in order.split(batch_size)]
