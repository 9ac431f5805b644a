"""The network of airbench94, 95 and 96 (Jordan, "94% on CIFAR-10 in 3.29 seconds on a single GPU", 2024)."""

from itertools import pairwise

from torch import Tensor, nn

from pipelines.models.layers import Activation, PatchWhitening, make_norm
from pipelines.recipe import networks


class Stage(nn.Module):
    """Two or three 3x3 convolutions, max-pooled after the first; with three, a residual around the last two."""

    def __init__(self, inputs: int, outputs: int, knobs: networks.AirNet) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv2d(channels, outputs, 3, padding=1, bias=False)
            for channels in (inputs, *[outputs] * (knobs.depth - 1))
        )
        self.norms = nn.ModuleList(make_norm(outputs, knobs.norm) for _ in range(knobs.depth))
        self.pool = nn.MaxPool2d(2)
        self.activation = Activation(knobs.activation)
        self.is_residual = knobs.depth == 3

    def forward(self, images: Tensor) -> Tensor:
        images = self.activation(self.norms[0](self.pool(self.convolutions[0](images))))
        shortcut = images
        images = self.activation(self.norms[1](self.convolutions[1](images)))
        if self.is_residual:
            images = self.activation(self.norms[2](self.convolutions[2](images)) + shortcut)
        return images


class AirNet(nn.Module):
    """(N, channels, height, width) images to (N, classes) logits; made for 32 x 32."""

    def __init__(self, knobs: networks.AirNet, image_shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        channels, height, width = image_shape
        if min(height, width) < 25:
            raise ValueError(f"model.name=airnet takes images of at least 25 x 25 pixels, not {height} x {width}")
        self.whiten = PatchWhitening(channels, knobs.whitening) if knobs.whitening else None
        outputs = self.whiten.out_channels if self.whiten else 24
        self.layers = nn.Sequential(
            *([] if self.whiten else [nn.Conv2d(channels, outputs, 2)]),
            Activation(knobs.first_activation or knobs.activation),
            *(Stage(before, after, knobs) for before, after in pairwise((outputs, *knobs.widths))),
            nn.AdaptiveMaxPool2d(1) if knobs.global_pool else nn.MaxPool2d(3),
            nn.Flatten(),
        )
        self.head = nn.Linear(knobs.widths[-1], classes, bias=False)
        self.logit_scale = knobs.logit_scale

    def forward(self, images: Tensor, train_whitening_bias: bool = True) -> Tensor:
        if self.whiten:
            images = self.whiten(images, train_whitening_bias)
        return self.head(self.layers(images)) * self.logit_scale
