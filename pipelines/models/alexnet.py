"""AlexNet in its two columns (Krizhevsky, Sutskever and Hinton 2012, "ImageNet Classification with Deep Convolutional
Neural Networks").

A column has half of the kernels of each layer. Layers 2, 4 and 5 see their own column alone (grouped convolutions);
layer 3 and the linear layers see both. On one device the columns are groups; `pipelines/strategies/columns.py` puts
them on two processes, as the paper did on two GPUs with 3 GB each.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from pipelines.models.classifier import Classifier
from pipelines.models.dropout import in_a_row, make_dropout, make_head
from pipelines.models.layers import Activation
from pipelines.recipe import networks

COLUMNS = 2


class BothColumns(nn.Module):
    """Where a layer sees both columns: (N, channels of a column, ...) to (N, channels, ...).

    On one device both are there, and nothing happens. The strategy puts its exchange into `exchange`.
    """

    exchange: Callable[[Tensor], Tensor] | None = None

    def forward(self, values: Tensor) -> Tensor:
        return values if self.exchange is None else self.exchange(values)


class ResponseNorm(nn.LocalResponseNorm):
    """The local response normalization of the paper, over neighbouring channels of one column."""

    columns = COLUMNS
    """those on this device"""

    def __init__(self) -> None:
        super().__init__(size=5, alpha=5e-4, beta=0.75, k=2.0)  # torch divides alpha by the size

    def forward(self, images: Tensor) -> Tensor:
        channels = images.shape[1] // self.columns
        by_column = images.reshape(-1, channels, *images.shape[2:])
        return super().forward(by_column.float()).to(images.dtype).reshape(images.shape)  # torch's has no bfloat16


class AlexNet(Classifier):
    """(N, channels, height, width) images to (N, classes) logits."""

    def __init__(self, config: networks.AlexNet, image_shape: tuple[int, int, int], classes: int) -> None:
        """ValueError for images of which the pooling leaves nothing."""
        super().__init__()
        first, second, third, fourth, fifth = config.widths
        side, stride = config.kernel_size, config.stride
        images = in_a_row(
            make_dropout(config.dropout, "input"),
            nn.Conv2d(image_shape[0], first, side, stride, padding=side // 2 if stride == 1 else 2),
            Activation(config.activation),
            ResponseNorm(),
            nn.MaxPool2d(3, 2),
            make_dropout(config.dropout, "blocks"),
            nn.Conv2d(first, second, 5, padding=2, groups=COLUMNS),
            Activation(config.activation),
            ResponseNorm(),
            nn.MaxPool2d(3, 2),
            make_dropout(config.dropout, "blocks"),
            BothColumns(),
            nn.Conv2d(second, third, 3, padding=1),
            Activation(config.activation),
            nn.Conv2d(third, fourth, 3, padding=1, groups=COLUMNS),
            Activation(config.activation),
            nn.Conv2d(fourth, fifth, 3, padding=1, groups=COLUMNS),
            Activation(config.activation),
            nn.MaxPool2d(3, 2),
            make_dropout(config.dropout, "blocks"),
            nn.Flatten(),
        )
        try:
            with torch.no_grad():
                features = images.to("meta")(torch.empty(1, *image_shape, device="meta")).shape[1]
        except RuntimeError as error:
            size = " x ".join(map(str, image_shape[1:]))
            raise ValueError(
                f"model.name=alexnet leaves nothing of {size} images: set model.stride=1 model.kernel_size=5"
            ) from error
        device = torch.empty(0).device
        self.layers = in_a_row(
            *images.to_empty(device=device).children(),
            BothColumns(),
            nn.Linear(features, config.hidden),
            Activation(config.activation),
            make_dropout(config.dropout, "head"),
            BothColumns(),
            nn.Linear(config.hidden, config.hidden),
            Activation(config.activation),
            make_dropout(config.dropout, "head"),
            BothColumns(),
        )
        for module in self.layers:
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
        self.head = make_head(config.hidden, classes, config, bias=True)
