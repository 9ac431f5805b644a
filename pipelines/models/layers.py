"""The layers that several networks share, built from the recipe's knobs."""

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
    "relu": lambda knobs: partial(F.relu, inplace=True),
    "celu": lambda knobs: partial(F.celu, alpha=knobs.alpha, inplace=True),
    "gelu": lambda knobs: F.gelu,
    "silu": lambda knobs: partial(F.silu, inplace=True),
    "elu": lambda knobs: partial(F.elu, alpha=knobs.alpha, inplace=True),
    "leaky_relu": lambda knobs: partial(F.leaky_relu, negative_slope=knobs.slope, inplace=True),
    "mish": lambda knobs: F.mish,
    "tanh": lambda knobs: torch.tanh_,
    "sigmoid": lambda knobs: torch.sigmoid_,
}


class Activation(nn.Module):
    """The recipe's non-linearity."""

    def __init__(self, knobs: networks.Activation) -> None:
        super().__init__()
        self.name, self.alpha = knobs.name, knobs.alpha
        self._function = _ACTIVATIONS[knobs.name](knobs)

    def forward(self, images: Tensor) -> Tensor:
        return self._function(images)


class BatchNorm(nn.BatchNorm2d):
    """Batch norm whose parameters and statistics are float32 whatever the images are (unless the recipe wants them in
    half precision as well), with an optional frozen scale."""

    def __init__(self, channels: int, knobs: networks.Norm) -> None:
        super().__init__(channels, eps=knobs.eps, momentum=knobs.momentum)
        self.weight.requires_grad = knobs.scale
        self.is_half = knobs.half

    def forward(self, images: Tensor) -> Tensor:
        # nn.BatchNorm2d would also count its batches, one more small kernel at every step
        return F.batch_norm(
            images, self.running_mean, self.running_var, self.weight, self.bias, self.training, self.momentum, self.eps
        )


class GhostBatchNorm(BatchNorm):
    """Batch norm over groups of images, and an activation; running statistics are the mean over the groups."""

    _kernel = staticmethod(ghost_batch_norm)

    def __init__(self, channels: int, knobs: networks.Norm, activation: networks.Activation | None = None) -> None:
        super().__init__(channels, knobs)
        assert knobs.group_size is not None
        self.group_size = knobs.group_size
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


def make_norm(channels: int, knobs: networks.Norm) -> BatchNorm:
    """The recipe's norm for so many channels."""
    if knobs.sync:
        return SyncBatchNorm(channels, knobs)
    return BatchNorm(channels, knobs) if knobs.group_size is None else GhostBatchNorm(channels, knobs)


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


_POOLS: dict[str, Callable[[networks.Pool], nn.Module]] = {
    "max": lambda knobs: nn.MaxPool2d(2),
    "average": lambda knobs: nn.AvgPool2d(2),
    "fractional": lambda knobs: FractionalMaxPool(knobs.ratio),
}


def make_pool(knobs: networks.Pool) -> nn.Module:
    """The recipe's pooling between layers: a side of `n` pixels becomes one of `pooled(n, knobs)`."""
    return _POOLS[knobs.name](knobs)


def pooled(side: int, knobs: networks.Pool) -> int:
    """Pixels that are left of so many."""
    return side // 2 if knobs.halves else int(side * knobs.ratio)


class PatchWhitening(nn.Conv2d):
    """A frozen convolution whose outputs, over the patches it was fitted to, have identity covariance.

    From post 8 of David Page's "How to train your ResNet" (2019).
    """

    def __init__(self, channels: int, knobs: networks.Whitening) -> None:
        outputs = channels * knobs.kernel_size**2 * (2 if knobs.both_signs else 1)
        super().__init__(channels, outputs, knobs.kernel_size, padding=knobs.padding, bias=knobs.bias)
        self.weight.requires_grad = False
        self.knobs = knobs

    def forward(self, images: Tensor, train_bias: bool = True) -> Tensor:
        """`train_bias` is an argument, and not `requires_grad`, because a compiled graph must see it change."""
        bias = self.bias if self.bias is None or train_bias else self.bias.detach()
        return F.conv2d(images, self.weight, bias, padding=self.padding)

    @torch.no_grad()
    def fit(self, images: Tensor) -> None:
        """Set the weights from the covariance of the patches of `images`, (N, height, width, channels)."""
        covariance = patch_covariance(images.permute(0, 3, 1, 2).float(), self.knobs.kernel_size)
        eigenvalues, eigenvectors = torch.linalg.eigh(covariance)
        whitening = (eigenvectors.T / torch.sqrt(eigenvalues + self.knobs.eps)[:, None]).flip(0)
        if self.knobs.both_signs:
            whitening = torch.cat([whitening, -whitening])
        self.weight.copy_(whitening.reshape(self.weight.shape))
