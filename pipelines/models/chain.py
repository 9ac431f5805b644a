"""Runs the blocks of a network as one `kernels.cpu.chain`, where that has a faster version for them."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook
from torch.utils._python_dispatch import _get_current_dispatch_mode

from kernels.choice import is_wanted
from kernels.cpu import chain
from kernels.cpu.blocks import Block, Whitening
from pipelines.models.layers import Activation, BatchNorm, GhostBatchNorm, PatchWhitening, PooledGhostBatchNorm


def run(
    whiten: PatchWhitening | None,
    layers: nn.Sequential,
    images: Tensor,
    train_whitening_bias: bool = True,
    frozen_stages: int = 0,
) -> Tensor:
    """layers(whiten(images)). Layers with a method `as_blocks`, the stages, run as blocks: all of them, or none. It is
    called with the number of blocks before, and returns None for what no block can express. Without a whitening layer,
    what is before the first stage runs by itself.

    frozen_stages: so many of the stages, and what is before them, get no gradient.
    """
    left = list(layers)
    frozen = [layer for layer in left if is_stage(layer)][:frozen_stages]
    if is_wanted("convolution_chain", images) and images.device.type == "cpu" and not _is_watched(whiten, layers):
        whitening = None
        while whiten is None and left and not is_stage(left[0]):
            images = left.pop(0)(images)
        modules = list(left)
        if whiten is not None:
            activation = modules.pop(0) if isinstance(modules[0], Activation) else None
            whitening = _whitening(whiten, activation, train_whitening_bias and not frozen)
        blocks: list[Block] = []
        while modules and (more := _blocks_of(modules[0], len(blocks))):
            is_trained = modules.pop(0) not in frozen
            blocks += more if is_trained else [block.detached() for block in more]
        is_whole = not any(is_stage(module) for module in modules)
        source = images.detach() if frozen else images
        mode = _mode_of_norms(layers)
        if is_whole and mode and chain.is_faster(source, blocks, whitening, mode[1]):
            training, group_size = mode
            images = chain.convolution_chain(source, blocks, whitening, training=training, group_size=group_size)
            for module in modules:
                images = module(images)
            return images
    if whiten is not None:
        images = whiten(images, train_whitening_bias)
    if len(left) == len(layers) and not frozen:
        return layers(images)  # with its own hooks
    for layer in left:
        images = layer(images)
        if frozen and layer is frozen[-1]:
            images = images.detach()
    return images


def is_stage(layer: nn.Module) -> bool:
    """Whether a layer can run as blocks."""
    return hasattr(layer, "as_blocks")


def block_of(modules: Sequence[nn.Module], shortcut: int | None = None) -> Block | None:
    """A convolution, perhaps a 2x2 max-pool, a batch norm and perhaps an activation, as a block; None for others."""
    convolution, *rest = modules
    pool = 1
    if isinstance(rest[0], nn.MaxPool2d):
        pool = rest.pop(0).kernel_size
    norm, *rest = rest
    if type(norm) not in (BatchNorm, GhostBatchNorm, PooledGhostBatchNorm) or len(rest) > 1:
        return None
    activation, alpha = norm.activation if isinstance(norm, GhostBatchNorm) else (None, 1.0)
    if isinstance(norm, PooledGhostBatchNorm):
        pool = 2
    if rest:
        if not isinstance(rest[0], Activation):
            return None
        activation, alpha = rest[0].name, rest[0].alpha
    statistics = (norm.running_mean, norm.running_var)
    parameters = (convolution.weight, norm.weight, norm.bias, *statistics, norm.momentum, norm.eps)
    return Block(*parameters, activation, alpha, pool, shortcut)


def all_blocks(blocks: Sequence[Block | None]) -> list[Block] | None:
    """The blocks, unless one is None."""
    there = [block for block in blocks if block is not None]
    return there if len(there) == len(blocks) else None


def _blocks_of(layer: nn.Module, first: int) -> list[Block] | None:
    return layer.as_blocks(first) if is_stage(layer) else None


def _whitening(whiten: PatchWhitening, activation: Activation | None, train_bias: bool) -> Whitening:
    bias = whiten.bias if whiten.bias is None or train_bias else whiten.bias.detach()
    name, alpha = (activation.name, activation.alpha) if activation else (None, 1.0)
    return Whitening(whiten.weight, bias, whiten.padding[0], name, alpha)


def _mode_of_norms(layers: nn.Module) -> tuple[bool, int | None] | None:
    """Whether the norms are in training mode, and if so the images of a group (None: the whole batch); None where the
    norms differ. The other layers may be in another mode: SWA estimates statistics with the norms alone in training."""
    norms = [module for module in layers.modules() if isinstance(module, BatchNorm)]
    modes = {
        (norm.training, norm.group_size if norm.training and isinstance(norm, GhostBatchNorm) else None)
        for norm in norms
    }
    return modes.pop() if len(modes) == 1 else None


def _is_watched(*networks: nn.Module | None) -> bool:
    """Whether somebody waits for what single layers or operations put out, or for the gradient of it."""
    if torch.compiler.is_compiling() or _get_current_dispatch_mode() is not None or _has_any_global_hook():
        return True
    kinds = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")
    modules = (module for network in networks if network is not None for module in network.modules())
    return any(getattr(module, kind) for module in modules for kind in kinds)
