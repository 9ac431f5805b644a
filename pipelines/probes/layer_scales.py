"""How large activations and gradients are in each layer before the first step: where they vanish or explode."""

import copy
from collections.abc import Callable
from functools import partial

from torch import Tensor, nn

from pipelines.events import State
from pipelines.losses import make_loss
from pipelines.recipe import techniques
from pipelines.seeds import kept_generators
from pipelines.strategies.strategy import Forward, autocast


def layer_scales(
    network: nn.Module,
    loss_function: Callable[[Tensor, Tensor], Tensor],
    images: Tensor,
    labels: Tensor,
    as_called: Callable[[nn.Module], Forward] = lambda network: network,
) -> dict[str, dict[str, float]]:
    """Root mean square of each convolution's and linear layer's output and weight gradient, for one batch.

    images: (N, C, H, W); labels: (N,); as_called: from the network to what is called. The network and torch's random
    generators stay as they are.
    """
    network = copy.deepcopy(network)
    layers = {name: layer for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d | nn.Linear)}
    outputs: dict[str, Tensor] = {}
    for name, layer in layers.items():
        layer.register_forward_hook(lambda layer, inputs, output, name=name: outputs.update({name: output.detach()}))
    with kept_generators(images.device):
        loss_function(as_called(network)(images), labels).backward()
    return {
        name: {
            "activation": root_mean_square(outputs[name]),
            "gradient": 0.0 if layer.weight.grad is None else root_mean_square(layer.weight.grad),
        }
        for name, layer in layers.items()
    }


def root_mean_square(tensor: Tensor) -> float:
    """Of all elements, in float32."""
    return tensor.float().square().mean().sqrt().item()


class LayerScales:
    """Notes the scales in the record."""

    def __init__(self, config: techniques.LayerScales) -> None:
        self._images = config.images

    def trial_start(self, state: State) -> None:
        images, labels = state.loader.plain(self._images)
        as_called = partial(autocast, recipe=state.recipe, world=state.world)
        loss_function = make_loss(state.recipe.loss)  # a technique may have replaced the loss of the trial
        images = images.permute(0, 3, 1, 2)
        state.notes["layer_scales"] = layer_scales(state.network, loss_function, images, labels, as_called)
