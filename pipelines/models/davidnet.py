"""DavidNet: the nine-layer residual network of "How to train your ResNet" (David Page, 2018-2019)."""

from torch import Tensor, nn

from kernels.cpu.blocks import Block
from pipelines.models import chain
from pipelines.models.classifier import StagedClassifier
from pipelines.models.dropout import in_a_row, make_dropout, make_head, stochastic_depth
from pipelines.models.layers import GlobalMaxPool, PatchWhitening, make_pool, norm_and_activation
from pipelines.recipe import networks


class ConvBlock(nn.Module):
    """3x3 (or 1x1) convolution, norm and activation, with pooling at its end or right after the convolution."""

    def __init__(
        self, inputs: int, outputs: int, config: networks.DavidNet, *, kernel_size: int = 3, pool: bool = False
    ):
        super().__init__()
        convolution = nn.Conv2d(inputs, outputs, kernel_size, padding=kernel_size // 2, bias=False)
        first = config.pool if pool and config.pool_before_norm else None
        last = config.pool if pool and not config.pool_before_norm else None
        layers = norm_and_activation(outputs, config.norm, config.activation, first)
        self.layers = nn.Sequential(convolution, *layers, *[make_pool(last)] if last else [])

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)

    def as_blocks(self, first: int) -> list[Block] | None:
        """The same as a block of `kernels.cpu.chain`, for `pipelines.models.chain`."""
        return chain.all_blocks([chain.block_of(self.layers)])


class Residual(nn.Module):
    """x + block(block(x)), what is added going through `drop` first."""

    def __init__(self, channels: int, config: networks.DavidNet, drop: nn.Module | None) -> None:
        super().__init__()
        self.branch = in_a_row(ConvBlock(channels, channels, config), ConvBlock(channels, channels, config), drop)
        self.is_plain = drop is None

    def forward(self, images: Tensor) -> Tensor:
        return images + self.branch(images)

    def as_blocks(self, first: int) -> list[Block] | None:
        """The same as blocks of `kernels.cpu.chain`, of which at least one precedes them."""
        blocks = chain.all_blocks([chain.block_of(block.layers) for block in self.branch]) if self.is_plain else None
        if not blocks:
            return None
        return [blocks[0], blocks[1]._replace(shortcut=first - 1, adds_before_activation=False)]


class DavidNet(StagedClassifier):
    """(N, channels, 32, 32) images to (N, classes) logits."""

    def __init__(self, config: networks.DavidNet, image_shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        channels, height, width = image_shape
        if (height, width) != (32, 32):
            raise ValueError(f"model.name=davidnet takes images of 32 x 32 pixels, not {height} x {width}")
        first, second, third, last = config.widths
        self.whiten = PatchWhitening(channels, config.whitening) if config.whitening else None
        if self.whiten:
            prepare = ConvBlock(self.whiten.out_channels, first, config, kernel_size=1)
        else:
            prepare = ConvBlock(channels, first, config)
        drops = stochastic_depth(config.stochastic_depth, branches=2)
        blocks = (
            prepare,
            ConvBlock(first, second, config, pool=True),
            Residual(second, config, drops[0]),
            ConvBlock(second, third, config, pool=True),
            ConvBlock(third, last, config, pool=True),
            Residual(last, config, drops[1]),
        )
        self.input_dropout = make_dropout(config.dropout, "input")
        self.layers = in_a_row(
            *(layer for block in blocks for layer in (block, make_dropout(config.dropout, "blocks"))),
            nn.MaxPool2d(4) if config.pool.halves else GlobalMaxPool(),
            nn.Flatten(),
            make_dropout(config.dropout, "head"),
        )
        self.head = make_head(last, classes, config, bias=False)
        self.logit_scale = config.logit_scale
