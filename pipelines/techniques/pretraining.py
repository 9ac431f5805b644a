"""A small training loop for what comes before the training: the pretraining of a network, or of its teacher."""

from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor, nn

from pipelines.recipe.schema import whole_steps
from pipelines.recipe.techniques.pretraining import Pretraining


def fit(
    parameters: Iterable[nn.Parameter],
    objective: Callable[[Tensor], Tensor],
    images: int,
    config: Pretraining,
    generator: torch.Generator,
    after_step: Callable[[], None] = lambda: None,
) -> list[float]:
    """Minimise `objective` over `images` images with AdamW; returns the mean loss of each epoch.

    objective: from the indices of a batch, (batch_size,) on the generator's device, to a scalar loss. The learning
    rate rises for the first tenth of the steps and falls to zero in a straight line.
    """
    parameters = list(parameters)
    batch_size = min(config.batch_size, images)
    per_epoch = images // batch_size
    steps = whole_steps(config.epochs * per_epoch)
    rates = np.interp(np.arange(steps) + 1, [0, 0.1 * steps, steps + 1], [0, config.lr, 0])
    optimizer = torch.optim.AdamW(parameters, lr=config.lr, weight_decay=config.weight_decay, fused=True)
    losses = []
    for step, rate in enumerate(rates):
        if step % per_epoch == 0:
            order = torch.randperm(images, generator=generator, device=generator.device).split(batch_size)
        optimizer.param_groups[0]["lr"] = float(rate)
        loss = objective(order[step % per_epoch])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        after_step()
        losses.append(loss.detach())
    return [part.mean().item() for part in torch.stack(losses).split(per_epoch)]
