"""What the processes send each other in a training step, by the formula of each strategy.

Norms, losses and techniques are taken for nothing. `pipelines/probes/communication.py` counts what is really sent.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn

from pipelines.distributed.ring import once


@dataclass(frozen=True)
class Traffic:
    """Bytes a step."""

    gradient_bytes: int | None = None
    """the gradients that a process averages with those of others; 0: it averages none; None: not known"""
    sent_bytes: float | None = None
    """what a process sends, the mean over the processes; None: the strategy has no formula"""


UNKNOWN = Traffic()


def trained_bytes(parameters: Iterable[nn.Parameter]) -> int:
    """Of the gradients of these parameters."""
    return sum(parameter.nbytes for parameter in parameters if parameter.requires_grad)


def whole_passes(network: nn.Module, processes: int, passes: float) -> Traffic:
    """Of data-parallel processes that send the weights or gradients of the whole network round a ring `passes` times.

    Twice for an all-reduce, once each for gathering weights and for scattering gradients (Rajbhandari et al. 2020,
    arXiv 1910.02054, section 7). The weights are taken for as many bytes as the gradients.
    """
    gradients = trained_bytes(network.parameters())
    return Traffic(gradients, passes * once(processes) * gradients)
