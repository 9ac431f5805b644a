"""The plain ConvNet of the MNIST baselines."""

from itertools import pairwise

from torch import Tensor, nn

from pipelines.recipe import networks


class ConvNet(nn.Module):
    """(N, channels, height, width) images to (N, classes) logits; each convolution halves height and width."""

    def __init__(self, knobs: networks.ConvNet, image_shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        channels, height, width = image_shape
        shrink = 2 ** len(knobs.widths)
        if min(height, width) < shrink:
            raise ValueError(
                f"model.widths={list(knobs.widths)} halves {height} x {width} images to nothing: give fewer"
            )
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise((channels, *knobs.widths)):
            layers += [nn.Conv2d(inputs, outputs, knobs.kernel_size, padding="same"), nn.ReLU(), nn.MaxPool2d(2)]
        self.layers = nn.Sequential(*layers, nn.Flatten())
        self.head = nn.Linear(knobs.widths[-1] * (height // shrink) * (width // shrink), classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.layers(images))
