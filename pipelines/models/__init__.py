"""Networks by the name that recipes give them, and what is done to every network alike.

The network `airnet` is the class of `pipelines/models/airnet.py` that is called like its configuration, `AirNet`.
"""

from collections.abc import Callable
from importlib import import_module

import torch
from torch import Tensor, nn

from pipelines.models import chain
from pipelines.models.dropout import Dropout
from pipelines.models.initialization import initialize_convolution, initialize_head
from pipelines.models.layers import BatchNorm, PatchWhitening
from pipelines.recipe.networks import Network
from pipelines.recipe.training import Initialization


def build_network(config: Network, image_shape: tuple[int, ...], classes: int) -> nn.Module:
    """A network in float32 on torch's default device, initialised from torch's global generator.

    image_shape: (channels, height, width), or (length,) for tokens. ValueError when the network does not take such
    inputs.
    """
    module = import_module(f"pipelines.models.{config.name}")
    network: nn.Module = getattr(module, type(config).__name__)(config, image_shape, classes)
    network.image_shape = image_shape
    return network


def to_precision(network: nn.Module, dtype: torch.dtype, *, channels_last: bool) -> nn.Module:
    """The network with weights of this dtype, its rates of dropout in float32, and its norms unless the recipe says
    otherwise, in place."""
    network.to(dtype=dtype)
    for module in network.modules():
        if isinstance(module, BatchNorm) and not module.is_half:
            module.float()
        elif isinstance(module, Dropout):
            module.float().reset_parameters()  # the rate was rounded
    return network.to(memory_format=torch.channels_last) if channels_last else network


def initialize(network: nn.Module, seed: int, config: Initialization) -> None:
    """Draw every parameter anew and reset every statistic and rate, in place: a compiled network stays compiled."""
    torch.manual_seed(seed)
    draws_itself = hasattr(network, "reset_parameters")  # then its layers must not be drawn once more
    for module in network.modules():
        if hasattr(module, "reset_parameters") and (module is network or not draws_itself):
            module.reset_parameters()
        if isinstance(module, nn.Conv2d) and not isinstance(module, PatchWhitening):
            initialize_convolution(module.weight, config)
    initialize_head(network.head.weight, config)


def stages(network: nn.Module) -> list[nn.Module]:
    """The layers of a network that `techniques.freeze_out` can freeze one after the other, from the images on."""
    return [layer for layer in getattr(network, "layers", ()) if chain.is_stage(layer)]


def until_stage(network: nn.Module, number: int) -> nn.Sequential:
    """The layers of the network up to the end of its `number`-th stage, from 1 on."""
    layers = list(network.layers)
    last = layers.index(stages(network)[number - 1])
    return nn.Sequential(*([network.whiten] if network.whiten else []), *layers[: last + 1])


def whitening_layers(network: nn.Module) -> list[PatchWhitening]:
    """The layers that are fitted to the training images before the training starts."""
    return [module for module in network.modules() if isinstance(module, PatchWhitening)]


def fit_whitening(network: nn.Module, plain: Callable[[int], tuple[Tensor, Tensor]]) -> None:
    """Fit these layers. plain: from a number to so many training images, (N, height, width, channels), and labels."""
    for layer in whitening_layers(network):
        layer.fit(plain(layer.config.images)[0])
