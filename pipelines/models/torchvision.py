"""Any classification network of torchvision, with its own initialization and without pretrained weights."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from pipelines.host.torchvision_import import import_torchvision
from pipelines.recipe import networks

WITHOUT_AUXILIARY_HEADS = {
    architecture: {"aux_logits": False, "init_weights": True} for architecture in ("googlenet", "inception_v3")
}
"""GoogLeNet and Inception v3 would also return the logits of their auxiliary heads in training"""
SIZED = {"vit": "image_size", "maxvit": "input_size"}
"""families whose weights depend on the size of the image, and the option that takes it"""


class Torchvision(nn.Module):
    """(N, 3, height, width) images to (N, classes) logits."""

    def __init__(self, config: networks.Torchvision, image_shape: tuple[int, int, int], classes: int) -> None:
        """ValueError for an unknown architecture, and for images that it does not take."""
        super().__init__()
        models = import_torchvision().models
        known = models.list_models(module=models)
        name = config.architecture
        if name not in known:
            raise ValueError(f"model.architecture={name}: torchvision has no such network; it has {', '.join(known)}")
        channels, height, width = image_shape
        if channels != 3:
            raise ValueError(
                f"model.architecture={name} takes images with 3 channels, not {channels}; set model.name=convnet"
            )
        options: dict[str, object] = dict(WITHOUT_AUXILIARY_HEADS.get(name, {}))
        family = name.partition("_")[0]
        if family in SIZED:
            if height != width:
                raise ValueError(f"model.architecture={name} takes square images, not {height} x {width} pixels")
            options[SIZED[family]] = (height, width) if family == "maxvit" else height
        self._make = partial(models.get_model, name, weights=None, num_classes=classes, **options)
        try:
            self.network = self._make()
            _run_on_meta(self._make, image_shape)
        except (RuntimeError, ValueError, AssertionError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ValueError(
                f"model.architecture={name} does not take images of {height} x {width} pixels ({reason}): "
                "use another architecture or larger images"
            ) from error

    @property
    def head(self) -> nn.Module:
        """The layer that gives the logits: a linear layer, or SqueezeNet's last convolution."""
        return [one for one in self.network.modules() if isinstance(one, nn.Linear | nn.Conv2d)][-1]

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw all weights as torchvision does, on the device of the weights, and reset the statistics of the norms."""
        with next(self.parameters()).device:
            drawn = self._make().state_dict()
        for name, tensor in self.network.state_dict().items():
            tensor.copy_(drawn[name])

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images)


def _run_on_meta(make: Callable[[], nn.Module], image_shape: tuple[int, int, int]) -> None:
    """Shapes only, so that images of a size that the network cannot take are found before anything is trained."""
    with torch.device("meta"), torch.no_grad():
        make().eval()(torch.empty(1, *image_shape))
