"""The network of airbench94, 95 and 96 (Jordan, "94% on CIFAR-10 in 3.29 seconds on a single GPU", 2024)."""

from itertools import pairwise

from torch import Tensor, nn

from kernels.cpu.blocks import Block
from pipelines.models import chain
from pipelines.models.classifier import StagedClassifier
from pipelines.models.dropout import in_a_row, make_dropout, make_head, stochastic_depth
from pipelines.models.layers import (
    Activation,
    GlobalMaxMeanPool,
    GlobalMaxPool,
    PatchWhitening,
    make_norm,
    make_pool,
)
from pipelines.recipe import networks


class FirstConvolution(nn.Conv2d):
    """A convolution whose bias starts at zero."""

    def reset_parameters(self) -> None:
        """As nn.Conv2d, but for the bias."""
        super().reset_parameters()
        nn.init.zeros_(self.bias)


class Stage(nn.Module):
    """Two or three 3x3 convolutions, pooled after the first. From `residual_depth` on, all but the first are a residual
    branch, which goes through `drop` before it is added."""

    def __init__(self, inputs: int, outputs: int, depth: int, config: networks.AirNet, drop: nn.Module | None) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv2d(channels, outputs, 3, padding=1, bias=False) for channels in (inputs, *[outputs] * (depth - 1))
        )
        self.norms = nn.ModuleList(make_norm(outputs, config.norm) for _ in range(depth))
        self.pool = make_pool(config.pool)
        self.activation = Activation(config.activation)
        self.is_residual = depth >= config.residual_depth
        self.drop = drop

    def forward(self, images: Tensor) -> Tensor:
        images = self.activation(self.norms[0](self.pool(self.convolutions[0](images))))
        shortcut = images
        for convolution, norm in zip(self.convolutions[1:-1], self.norms[1:-1], strict=True):
            images = self.activation(norm(convolution(images)))
        images = self.norms[-1](self.convolutions[-1](images))
        if self.is_residual:
            images = (self.drop(images) if self.drop else images) + shortcut
        return self.activation(images)

    def as_blocks(self, first: int) -> list[Block] | None:
        """The same as blocks of `kernels.cpu.chain`, for `pipelines.models.chain`."""
        if self.drop or (type(self.pool) is not nn.MaxPool2d):
            return None
        rows = zip(self.convolutions, self.norms, strict=True)
        modules = [[convolution, norm, self.activation] for convolution, norm in rows]
        modules[0].insert(1, self.pool)
        shortcuts = [*[None] * (len(modules) - 1), first if self.is_residual else None]
        return chain.all_blocks([chain.block_of(*each) for each in zip(modules, shortcuts, strict=True)])


class AirNet(StagedClassifier):
    """(N, channels, height, width) images to (N, classes) logits; made for 32 x 32."""

    def __init__(self, config: networks.AirNet, image_shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        channels, height, width = image_shape
        least = 9 if config.global_pool else 25
        if min(height, width) < least:
            raise ValueError(
                f"model.name=airnet takes images of at least {least} x {least} pixels, not {height} x {width}"
            )
        self.whiten = PatchWhitening(channels, config.whitening) if config.whitening else None
        outputs = self.whiten.out_channels if self.whiten else 24
        features = config.widths[-1] * (2 if config.mean_features else 1)
        widths, drops = pairwise((outputs, *config.widths)), stochastic_depth(config.stochastic_depth, branches=3)
        stages = [
            Stage(before, after, depth, config, drop)
            for (before, after), depth, drop in zip(widths, config.depths, drops, strict=True)
        ]
        self.input_dropout = make_dropout(config.dropout, "input")
        self.layers = in_a_row(
            None if self.whiten else FirstConvolution(channels, outputs, 2),
            Activation(config.first_activation or config.activation),
            *(layer for stage in stages for layer in (stage, make_dropout(config.dropout, "blocks"))),
            _last_pool(config),
            nn.Flatten(),
            make_dropout(config.dropout, "head"),
        )
        self.head = make_head(features, classes, config, bias=False)
        self.logit_scale = config.logit_scale


def _last_pool(config: networks.AirNet) -> nn.Module:
    if config.mean_features:
        return GlobalMaxMeanPool()
    return GlobalMaxPool() if config.global_pool or not config.pool.halves else nn.MaxPool2d(3)
