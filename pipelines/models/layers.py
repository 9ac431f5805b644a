"""The layers that several networks share, as the recipe configures them."""

from collections.abc import Callable
from functools import partial

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from kernels import activations
from kernels.ghost_batch_norm import ghost_batch_norm
from kernels.grouping import Grouping
from kernels.pooled_ghost_batch_norm import pooled_ghost_batch_norm
from kernels.sync_batch_norm import sync_batch_norm
from kernels.whiten import patch_covariance
from pipelines.recipe import networks

_ACTIVATIONS: dict[str, Callable[[networks.Activation], Callable[[Tensor], Tensor]]] = {
    "relu": lambda config: partial(F.relu, inplace=True),
    "celu": lambda config: partial(F.celu, alpha=config.alpha, inplace=True),
    "gelu": lambda config: F.gelu,
    "silu": lambda config: F.silu,
    "elu": lambda config: partial(F.elu, alpha=config.alpha, inplace=True),
    "leaky_relu": lambda config: partial(F.leaky_relu, negative_slope=config.slope, inplace=True),
    "mish": lambda config: F.mish,
    "tanh": lambda config: torch.tanh_,
    "sigmoid": lambda config: torch.sigmoid_,
}


class Activation(nn.Module):
    """The recipe's non-linearity."""

    def __init__(self, config: networks.Activation) -> None:
        super().__init__()
        self.name, self.alpha = config.name, config.alpha
        self._function = _ACTIVATIONS[config.name](config)

    def forward(self, images: Tensor) -> Tensor:
        return self._function(images)


class BatchNorm(nn.BatchNorm2d):
    """Batch norm whose parameters and statistics are float32 whatever the images are (unless the recipe wants them in
    half precision as well), with an optional frozen scale."""

    def __init__(self, channels: int, config: networks.Norm) -> None:
        super().__init__(channels, eps=config.eps, momentum=config.momentum)
        self.weight.requires_grad = config.scale
        self.is_half = config.half

    def forward(self, images: Tensor) -> Tensor:
        # nn.BatchNorm2d would also count its batches, one more small kernel at every step
        return F.batch_norm(
            images, self.running_mean, self.running_var, self.weight, self.bias, self.training, self.momentum, self.eps
        )


class GhostBatchNorm(BatchNorm):
    """Batch norm over groups of images, and an activation; running statistics are the mean over the groups."""

    _kernel = staticmethod(ghost_batch_norm)

    def __init__(self, channels: int, config: networks.Norm, activation: networks.Activation | None = None) -> None:
        super().__init__(channels, config)
        assert config.group_size is not None
        self.group_size = config.group_size
        self.activation = (activation.name, activation.alpha) if activation else (None, 1.0)

    def forward(self, images: Tensor) -> Tensor:
        name, alpha = self.activation
        if not self.training:
            return activations.FUSED[name](super().forward(images), alpha)
        grouping = Grouping(self.group_size, self.momentum, self.eps, name, alpha)
        return self._kernel(images, self.weight, self.bias, self.running_mean, self.running_var, grouping)


class PooledGhostBatchNorm(GhostBatchNorm):
    """The same after a 2x2 max-pool."""

    _kernel = staticmethod(pooled_ghost_batch_norm)

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images if self.training else F.max_pool2d(images, 2))


class SyncBatchNorm(BatchNorm):
    """Batch norm over the images of all processes. torch's own (nn.SyncBatchNorm) knows no CPU."""

    def forward(self, images: Tensor) -> Tensor:
        if not (self.training and dist.is_initialized()):
            return super().forward(images)
        normalised, mean, variance, count = sync_batch_norm(images, self.weight, self.bias, self.eps)
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)  # unbiased, as in BatchNorm2d
        return normalised


def make_norm(channels: int, config: networks.Norm) -> BatchNorm:
    """The recipe's norm for so many channels."""
    if config.sync:
        return SyncBatchNorm(channels, config)
    return BatchNorm(channels, config) if config.group_size is None else GhostBatchNorm(channels, config)


def norm_and_activation(
    channels: int, norm: networks.Norm, activation: networks.Activation, pool: networks.Pool | None = None
) -> list[nn.Module]:
    """The recipe's norm, the activation after it and perhaps a pool before it: one module where a kernel has them."""
    if norm.group_size is not None and activation.name in activations.FUSED:
        if pool and pool.name == "max":
            return [PooledGhostBatchNorm(channels, norm, activation)]
        layers = [GhostBatchNorm(channels, norm, activation)]
    else:
        layers = [make_norm(channels, norm), Activation(activation)]
    return [make_pool(pool), *layers] if pool else layers


class FractionalMaxPool(nn.FractionalMaxPool2d):
    """The maximum over overlapping 2x2 pixels at places that are drawn for each image and channel (Graham 2014).

    In evaluation they lie at even distances, so that an evaluation draws nothing and comes out the same each time.
    """

    def __init__(self, ratio: float) -> None:
        super().__init__(2, output_ratio=ratio)

    def forward(self, images: Tensor) -> Tensor:
        places = None if self.training else torch.full((*images.shape[:2], 2), 0.5, device=images.device)
        # torch computes the places in the dtype of the images, of which half precision rounds them
        pooled = F.fractional_max_pool2d(
            images.float(), self.kernel_size, output_ratio=self.output_ratio, _random_samples=places
        )
        return pooled.to(images.dtype)


def scaled(logits: Tensor, factor: float) -> Tensor:
    """The logits times `factor`; themselves where that is 1, for two kernels less."""
    return logits if factor == 1 else logits * factor


_POOLS: dict[str, Callable[[networks.Pool], nn.Module]] = {
    "max": lambda config: nn.MaxPool2d(2),
    "average": lambda config: nn.AvgPool2d(2),
    "fractional": lambda config: FractionalMaxPool(config.ratio),
}


def make_pool(config: networks.Pool) -> nn.Module:
    """The recipe's pooling between layers: a side of `n` pixels becomes one of `pooled(n, config)`."""
    return _POOLS[config.name](config)


def pooled(side: int, config: networks.Pool) -> int:
    """Pixels that are left of so many."""
    return side // 2 if config.halves else int(side * config.ratio)


class GlobalMaxPool(nn.Module):
    """The maximum of each channel: (N, channels, height, width) to (N, channels).

    Of equal pixels the first has the gradient, as in nn.AdaptiveMaxPool2d, whose backward pass on CUDA adds atomically.
    """

    def forward(self, images: Tensor) -> Tensor:
        if images.is_contiguous(memory_format=torch.channels_last):  # then the gradient is so, too
            return images.permute(0, 2, 3, 1).flatten(1, 2).max(1).values
        return images.flatten(2).max(2).values


class GlobalMaxMeanPool(GlobalMaxPool):
    """The maximum and the mean of each channel: (N, channels, height, width) to (N, 2 channels).

    fastai calls it AdaptiveConcatPool2d, timm `catavgmax`.
    """

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat([super().forward(images), images.mean((2, 3))], 1)


class PatchWhitening(nn.Conv2d):
    """A frozen convolution whose outputs, over the patches it was fitted to, have the identity for covariance (or, with
    `centred=False`, for second moments about zero).

    From post 8 of David Page's "How to train your ResNet" (2019).
    """

    def __init__(self, channels: int, config: networks.Whitening) -> None:
        self.config = config  # before nn.Conv2d's constructor, which calls `reset_parameters`
        outputs = channels * config.kernel_size**2 * (2 if config.both_signs else 1)
        super().__init__(channels, outputs, config.kernel_size, padding=config.padding, bias=config.bias)
        self.weight.requires_grad = False

    def reset_parameters(self) -> None:
        """As nn.Conv2d, with the bias that the recipe wants."""
        super().reset_parameters()
        if self.bias is not None and self.config.bias_init == "zeros":
            nn.init.zeros_(self.bias)

    def forward(self, images: Tensor, train_bias: bool = True) -> Tensor:
        """`train_bias` is an argument, and not `requires_grad`, because a compiled graph must see it change."""
        bias = self.bias if self.bias is None or train_bias else self.bias.detach()
        return F.conv2d(images, self.weight, bias, padding=self.padding)

    @torch.no_grad()
    def fit(self, images: Tensor) -> None:
        """Set the weights from the second moments of the patches of `images`, (N, height, width, channels).

        In float64, so that the number of threads changes the weights by no more than their rounding.
        """
        config = self.config
        moments = patch_covariance(images.permute(0, 3, 1, 2), config.kernel_size, centred=config.centred)
        eigenvalues, eigenvectors = torch.linalg.eigh(moments)
        rows = with_fixed_signs(eigenvectors.T)
        whitening = (rows / torch.sqrt(eigenvalues + config.eps)[:, None]).flip(0)
        if config.both_signs:
            whitening = torch.cat([whitening, -whitening])
        self.weight.copy_(whitening.reshape(self.weight.shape))


def with_fixed_signs(vectors: Tensor) -> Tensor:
    """Eigenvectors (rows), whose signs are arbitrary: the first entry of at least half the largest size is positive.

    A rule by the largest entry alone would decide between two of nearly the same size by their rounding.
    """
    sizes = vectors.abs()
    first = (sizes >= 0.5 * sizes.amax(1, keepdim=True)).int().argmax(1, keepdim=True)
    return vectors * vectors.gather(1, first).sign()
