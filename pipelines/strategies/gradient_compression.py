"""What DDP sends instead of whole gradients: torch's communication hooks, begun anew for each trial."""

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks, powerSGD_hook
from torch.nn.parallel import DistributedDataParallel

from pipelines.recipe.parallel import Parallel

Bucket = dist.GradBucket
Reduced = torch.futures.Future[torch.Tensor]

CASTS = {"fp16": default_hooks.fp16_compress_hook, "bf16": default_hooks.bf16_compress_hook}


class Casting:
    """The gradients of a bucket in 16 bits, divided by the number of processes before they are summed."""

    def __init__(self, compress: Callable[[Any, Bucket], Reduced]) -> None:
        self._compress = compress

    def begin_trial(self) -> None:
        """Nothing: no step knows of the one before."""

    def __call__(self, group: Any, bucket: Bucket) -> Reduced:
        return self._compress(group, bucket)


class PowerSGD:
    """Each matrix of gradients as a product of two thin ones (Vogels et al. 2019, arXiv 1905.13727).

    What is left out of one step is added to the next. That memory is a trial's own.
    """

    def __init__(self, config: Parallel) -> None:
        self._config = config
        self.begin_trial()

    def begin_trial(self) -> None:
        self._state = powerSGD_hook.PowerSGDState(
            None,
            matrix_approximation_rank=self._config.power_sgd_rank,
            start_powerSGD_iter=self._config.power_sgd_start,
        )

    def __call__(self, group: Any, bucket: Bucket) -> Reduced:
        return powerSGD_hook.powerSGD_hook(self._state, bucket)


def compressed_bytes(network: nn.Module, config: Parallel) -> float:
    """Of what stands for the gradients of a step once PowerSGD has begun. torch keeps a gradient whole where its thin
    matrices are more than half of it."""
    gradients = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if config.compression in CASTS:
        return sum(torch.half.itemsize * gradient.numel() for gradient in gradients)
    if config.compression == "power_sgd":
        return sum(gradient.nbytes * _power_sgd_share(gradient, config.power_sgd_rank) for gradient in gradients)
    return sum(gradient.nbytes for gradient in gradients)


def _power_sgd_share(gradient: Tensor, rank: int) -> float:
    """Of its bytes that PowerSGD sends."""
    rows = len(gradient)
    columns = gradient.numel() // rows
    share = (rows + columns) * rank / (rows * columns)
    return share if gradient.ndim > 1 and 2 * share < 1 else 1.0


def register(replicated: DistributedDataParallel, config: Parallel) -> Callable[[], None]:
    """Compress the gradients as the recipe says. What is returned is to be called when a trial begins."""
    if config.compression == "none":
        return lambda: None
    hook = PowerSGD(config) if config.compression == "power_sgd" else Casting(CASTS[config.compression])
    replicated.register_comm_hook(None, hook.__call__)
    return hook.begin_trial
