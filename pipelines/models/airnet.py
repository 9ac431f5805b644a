"""The network of airbench94, 95 and 96 (Jordan, "94% on CIFAR-10 in 3.29 seconds on a single GPU", 2024)."""

from itertools import pairwise

from torch import Tensor, nn

from kernels.cpu.blocks import Block
from pipelines.models import chain
from pipelines.models.dropout import in_a_row, make_dropout, make_head, stochastic_depth
from pipelines.models.layers import Activation, PatchWhitening, make_norm, make_pool
from pipelines.recipe import networks


class Stage(nn.Module):
    """Two or three 3x3 convolutions, pooled after the first; with three, a residual around the last two, which goes
    through `drop` before it is added."""

    def __init__(self, inputs: int, outputs: int, knobs: networks.AirNet, drop: nn.Module | None) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv2d(channels, outputs, 3, padding=1, bias=False)
            for channels in (inputs, *[outputs] * (knobs.depth - 1))
        )
        self.norms = nn.ModuleList(make_norm(outputs, knobs.norm) for _ in range(knobs.depth))
        self.pool = make_pool(knobs.pool)
        self.activation = Activation(knobs.activation)
        self.is_residual = knobs.depth == 3
        self.drop = drop

    def forward(self, images: Tensor) -> Tensor:
        images = self.activation(self.norms[0](self.pool(self.convolutions[0](images))))
        shortcut = images
        images = self.activation(self.norms[1](self.convolutions[1](images)))
        if self.is_residual:
            branch = self.norms[2](self.convolutions[2](images))
            images = self.activation((self.drop(branch) if self.drop else branch) + shortcut)
        return images

    def as_blocks(self, first: int) -> list[Block] | None:
        """The same as blocks of `kernels.cpu.chain`, for `pipelines.models.chain`."""
        if self.drop or (type(self.pool) is not nn.MaxPool2d):
            return None
        rows = zip(self.convolutions, self.norms, strict=True)
        modules = [[convolution, norm, self.activation] for convolution, norm in rows]
        modules[0].insert(1, self.pool)
        shortcuts = [None, None, first]
        return chain.all_blocks([chain.block_of(*each) for each in zip(modules, shortcuts, strict=False)])


class AirNet(nn.Module):
    """(N, channels, height, width) images to (N, classes) logits; made for 32 x 32."""

    def __init__(self, knobs: networks.AirNet, image_shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        channels, height, width = image_shape
        least = 9 if knobs.global_pool else 25
        if min(height, width) < least:
            raise ValueError(
                f"model.name=airnet takes images of at least {least} x {least} pixels, not {height} x {width}"
            )
        self.whiten = PatchWhitening(channels, knobs.whitening) if knobs.whitening else None
        outputs = self.whiten.out_channels if self.whiten else 24
        channels_and_drops = zip(
            pairwise((outputs, *knobs.widths)), stochastic_depth(knobs.stochastic_depth, branches=3), strict=True
        )
        stages = [Stage(before, after, knobs, drop) for (before, after), drop in channels_and_drops]
        self.input_dropout = make_dropout(knobs.dropout, "input")
        self.layers = in_a_row(
            None if self.whiten else nn.Conv2d(channels, outputs, 2),
            Activation(knobs.first_activation or knobs.activation),
            *(layer for stage in stages for layer in (stage, make_dropout(knobs.dropout, "blocks"))),
            nn.AdaptiveMaxPool2d(1) if knobs.global_pool or not knobs.pool.halves else nn.MaxPool2d(3),
            nn.Flatten(),
            make_dropout(knobs.dropout, "head"),
        )
        self.head = make_head(knobs.widths[-1], classes, knobs, bias=False)
        self.logit_scale = knobs.logit_scale

    def forward(self, images: Tensor, train_whitening_bias: bool = True) -> Tensor:
        if self.input_dropout:
            images = self.input_dropout(images)
        return self.head(chain.run(self.whiten, self.layers, images, train_whitening_bias)) * self.logit_scale
