"""Networks by the name that recipes give them, and what is done to every network alike."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from pipelines.models.airnet import AirNet
from pipelines.models.convnet import ConvNet
from pipelines.models.davidnet import DavidNet
from pipelines.models.dropout import Dropout
from pipelines.models.initialization import initialize_convolution, initialize_head
from pipelines.models.layers import BatchNorm, PatchWhitening
from pipelines.models.resnet18 import ResNet18
from pipelines.recipe import Recipe
from pipelines.recipe.networks import Network
from pipelines.recipe.training import Initialization

NETWORKS: dict[str, type[nn.Module]] = {
    "airnet": AirNet,
    "convnet": ConvNet,
    "davidnet": DavidNet,
    "resnet18": ResNet18,
}


MOST_GRAPHS = 64
"""of a compiled network; past this many, torch.compile would go on without compiling"""


def build_network(knobs: Network, image_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """A network in float32 on torch's default device, initialised from torch's global generator.

    image_shape: (channels, height, width). ValueError when the network does not take such images.
    """
    return NETWORKS[knobs.name](knobs, image_shape, classes)


def check_sides(recipe: Recipe, image_shape: tuple[int, int, int], classes: int) -> None:
    """ValueError when the network is made for images of `image_shape` alone, and `augment.resolution` has others."""
    resolution = recipe.augment.resolution
    if not resolution:
        return
    with torch.device("meta"):
        network = build_network(recipe.model, image_shape, classes).eval()
        for side in resolution.sizes:
            try:
                network(torch.empty(1, image_shape[0], side, side))
            except RuntimeError as error:
                raise ValueError(
                    f"augment.resolution.sizes={list(resolution.sizes)}: model.name={recipe.model.name} does not take "
                    f"images of {side} x {side} pixels; say larger ones, or model={{name: airnet, global_pool: true}}"
                ) from error


def to_precision(network: nn.Module, dtype: torch.dtype, *, channels_last: bool) -> nn.Module:
    """The network with weights of this dtype, its rates of dropout in float32, and its norms unless their knobs say
    otherwise, in place."""
    network.to(dtype=dtype)
    for module in network.modules():
        if isinstance(module, BatchNorm) and not module.is_half:
            module.float()
        elif isinstance(module, Dropout):
            module.float().reset_parameters()  # the rate was rounded
    return network.to(memory_format=torch.channels_last) if channels_last else network


def callable_of(network: nn.Module, recipe: Recipe, device: torch.device) -> Callable[..., Tensor]:
    """The network as a training calls it: compiled, and under autocast, as the recipe wants it."""
    forward: Callable[..., Tensor] = network
    if recipe.compile:
        # a graph for every shape, all made in the warm-up: one for all shapes would be slower in each
        torch._dynamo.config.recompile_limit = MOST_GRAPHS
        forward = torch.compile(forward, dynamic=False)
    if recipe.precision == "autocast":
        forward = torch.autocast(device.type, torch.bfloat16)(forward)
    return forward


def initialize(network: nn.Module, seed: int, knobs: Initialization) -> None:
    """Draw every parameter anew and reset every statistic and rate, in place: a compiled network stays compiled."""
    torch.manual_seed(seed)
    for module in network.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
        if isinstance(module, nn.Conv2d) and not isinstance(module, PatchWhitening):
            initialize_convolution(module.weight, knobs)
    initialize_head(network.head.weight, knobs)


def whitening_layers(network: nn.Module) -> list[PatchWhitening]:
    """The layers that are fitted to the training images before the training starts."""
    return [module for module in network.modules() if isinstance(module, PatchWhitening)]
