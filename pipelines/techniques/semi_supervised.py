"""What the techniques that learn from unlabelled images share."""

import math

import torch
from torch import Tensor, nn

from pipelines.distributed.average import average_statistics
from pipelines.events import State
from pipelines.strategies.strategy import autocast


@torch.no_grad()
def probabilities(network: nn.Module, images: Tensor, state: State) -> Tensor:
    """Class probabilities of (N, C, H, W) images in evaluation mode, by the trial's recipe: (N, classes), float32.

    The statistics of the norms become the mean over the processes, so that all of them find the same.
    """
    average_statistics(network, state.world.data)
    forward, batches = autocast(network, state.recipe, state.world), images.split(state.recipe.evaluation.batch_size)
    was_training = network.training
    network.eval()
    result = torch.cat([forward(batch).float().softmax(1) for batch in batches])
    network.train(was_training)
    return result


def unlabelled_per_step(state: State, ratio: float) -> int:
    """Unlabelled images that this process takes a step, `ratio` for each labelled one."""
    return max(1, round(ratio * state.recipe.batch_size / state.world.data.size))


def ramp_up(epoch: float, epochs: float) -> float:
    """From e^-5 at the start to 1 after `epochs`: exp(-5 (1 - epoch / epochs)²) (Laine & Aila 2017)."""
    return math.exp(-5 * (1 - min(epoch / epochs, 1.0)) ** 2) if epochs else 1.0
