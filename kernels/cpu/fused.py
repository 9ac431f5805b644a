"""The C++ version of a chain of blocks, with its gradient.

Between two blocks it keeps what the norm reads, in bfloat16 and in cells of 32 images x 32 channels, and makes
everything else again where it is needed. Products are summed in float32. The order of all sums depends on the shapes
and on the size of the second-level cache, but not on the number of threads.
"""

from collections.abc import Callable, Sequence
from functools import cache
from types import ModuleType
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from kernels import choice
from kernels.cpu import build
from kernels.cpu.blocks import ACTIVATIONS, Block, Whitening, window_of

SLICE_BYTES, LEAST_SLICES, MOST_SLICES = 2**25, 8, 64
"""the batch is cut into slices of at least one chunk, each with its own sum of the weights' gradient: as many as the
bytes allow, and at least so many, for the threads"""


def extension() -> ModuleType | None:
    """The C++ version with the best micro-kernel that this CPU has; None if there is no library for this CPU.

    It is compiled where `choice.may_compile`.
    """
    return _ready(build.library if choice.may_compile() else build.built) if build.is_possible() else None


@cache
def _ready(find: Callable[[], ModuleType | None]) -> ModuleType | None:
    """Cached also where there is none: a training goes on as it began when another process compiles meanwhile."""
    module = find()
    if module and (names := module.supported()):
        module.use(names[0])
        return module
    return None


@cache
def fused_version() -> str:
    """What a record says of `fused`: with the micro-kernel that it has on this CPU."""
    module = extension()
    assert module
    return f"convolution_chain: {module.supported()[0]}"


def fused(
    images: Tensor,
    blocks: Sequence[Block],
    whitening: Whitening | None = None,
    *,
    training: bool,
    group_size: int | None = None,
) -> Tensor:
    """The same in C++, for what `chain.is_supported` accepts."""
    group = min(group_size or len(images), len(images)) if training else len(images)
    bias = whitening.bias if whitening else None
    trained = [tensor for block in blocks for tensor in block[:3]]
    plain = tuple(block._replace(**_NO_TENSORS) for block in blocks)
    fixed = _Fixed(plain, whitening, training, group, _first_trained([images, bias], trained))
    statistics = [block[3:5] for block in blocks]
    return _Chain.apply(images, bias, fixed, statistics, *trained)


_NO_TENSORS: dict[str, Any] = dict.fromkeys(Block._fields[:5])


def _first_trained(before: Sequence[Tensor | None], trained: Sequence[Tensor]) -> int:
    """The first block that the backward pass goes to; the number of blocks where there is no backward pass.

    before: the images and the whitening's bias. trained: three tensors of each block.
    """
    blocks = len(trained) // 3
    if not torch.is_grad_enabled():  # within a Function it is always off, and `needs_input_grad` does not depend on it
        return blocks
    if any(tensor is not None and tensor.requires_grad for tensor in before):
        return 0
    return next((place // 3 for place, tensor in enumerate(trained) if tensor.requires_grad), blocks)


class _Fixed(NamedTuple):
    """What a chain is given beside the tensors that are trained."""

    blocks: tuple[Block, ...]
    whitening: Whitening | None
    training: bool
    group: int
    first_trained: int


class _Norm(NamedTuple):
    """Of one block, (groups, channels filled up to a multiple of 32), float64; `scale` and `shift` float32."""

    mean: Tensor
    inverse_std: Tensor
    factor: Tensor
    """the norm's scale over the standard deviation"""
    scale: Tensor
    shift: Tensor


class _Chain(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        images: Tensor,
        white_bias: Tensor | None,
        fixed: _Fixed,
        statistics: list[tuple[Tensor, Tensor]],
        *trained: Tensor,
    ) -> Tensor:
        weights, scales, biases = trained[::3], trained[1::3], trained[2::3]
        run = _Run(images, fixed)
        sources, norms, stored, places = [run.first_source(images, white_bias)], [], [], []
        for index, block in enumerate(fixed.blocks):
            weight, keeps_places = weights[index].detach(), index >= fixed.first_trained
            source = sources[-1]
            window = window_of(block, (source.height, source.width))
            p, of_maxima, sums = run.kernels.convolve(source, weight, *window, keeps_places, fixed.training)
            norms.append(run.norm(block, p, sums, *statistics[index], scales[index], biases[index]))
            sources.append(run.source_after(block, p, norms[-1], len(weight), sources))
            stored.append(p)
            places.append(of_maxima)
        if fixed.first_trained < len(fixed.blocks):
            ctx.run, ctx.norms, ctx.first_source = run, norms, sources[0]
            ctx.save_for_backward(images, *weights, *stored, *places)  # `first_source` may lie in the images' memory
        return run.kernels.from_cells(sources[-1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        run, norms = ctx.run, ctx.norms
        fixed, kernels = run.fixed, run.kernels
        blocks, first = fixed.blocks, fixed.first_trained
        count, saved = len(blocks), ctx.saved_tensors[1:]
        weights, stored, places = saved[:count], saved[count : 2 * count], saved[2 * count :]
        sources = [ctx.first_source]
        for block, p, norm, weight in zip(blocks, stored, norms, weights, strict=True):
            sources.append(run.source_after(block, p, norm, len(weight), sources))
        wants_images, wants_bias = ctx.needs_input_grad[:2]
        gradients: list[Tensor | None] = [None] * (3 * count)
        extra: dict[int, Tensor] = {}  # gradients that reach a block's output through shortcuts
        g, sums, before = kernels.into_cells(sources[-1], gradient, stored[-1], run.keeps_before(count))
        for index in reversed(range(first, count)):
            block, p, source = blocks[index], stored[index], sources[index]
            if block.shortcut is not None:
                reaching = g if block.adds_before_activation else before
                extra[block.shortcut] = extra[block.shortcut] + reaching if block.shortcut in extra else reaching
            outputs = len(weights[index])
            factors, scale_gradient, bias_gradient = run.norm_backward(norms[index], sums, p)
            gradients[3 * index + 1 : 3 * index + 3] = scale_gradient[:outputs], bias_gradient[:outputs]
            goes_on = index > first
            gradients[3 * index], before, before_g, sums = kernels.convolve_backward(
                source,
                weights[index],
                *window_of(block, (source.height, source.width)),
                g,
                p,
                places[index],
                factors,
                stored[index - 1] if goes_on else None,
                extra.pop(index - 1, None) if goes_on else None,
                goes_on or wants_images or wants_bias,
                run.keeps_before(index) if goes_on else wants_images,
                goes_on,
                run.slices(weights[index]),
            )
            g = before_g
        images_gradient = kernels.from_cells(run.plain_source(before, sources[0])) if wants_images else None
        bias_gradient = None
        if wants_bias:
            total = sums[:, 0].double().sum(0)
            bias_gradient = total[: sources[0].channels].to(torch.bfloat16)
        wanted = [each if wants else None for each, wants in zip(gradients, ctx.needs_input_grad[4:], strict=True)]
        return images_gradient, bias_gradient, None, None, *wanted


class _Run:
    """What the passes of one batch share."""

    def __init__(self, images: Tensor, fixed: _Fixed) -> None:
        kernels = extension()
        assert kernels
        self.kernels, self.fixed, self.images, self.group = kernels, fixed, len(images), fixed.group
        per_group = -(-self.group // 32)
        self.groups = -(-self.images // self.group)
        sizes = [self.group] * (self.groups - 1) + [self.images - (self.groups - 1) * self.group]
        self.sizes = torch.tensor(sizes, dtype=torch.float64)[:, None]
        chunks = (self.groups - 1) * per_group + -(-sizes[-1] // 32)
        self.group_of_chunk = torch.arange(chunks) // per_group

    def first_source(self, images: Tensor, white_bias: Tensor | None) -> Any:
        white = self.fixed.whitening
        if white is None:
            return self.kernels.images(images.detach(), self.group)
        bias = None if white_bias is None else white_bias.detach()
        activation = ACTIVATIONS.index(white.activation)
        return self.kernels.whitened(
            images, white.weight.detach(), bias, white.padding, activation, white.alpha, self.group
        )

    def source_after(self, block: Block, p: Tensor, norm: _Norm, channels: int, sources: list[Any]) -> Any:
        """The output of a block, from what is stored of it."""
        return self.kernels.normalized(
            p,
            norm.scale,
            norm.shift,
            channels,
            self.images,
            self.group,
            ACTIVATIONS.index(block.activation),
            block.alpha,
            None if block.shortcut is None else sources[block.shortcut + 1],
            block.adds_before_activation,
        )

    def plain_source(self, cells: Tensor, like: Any) -> Any:
        """What lies in cells, as it is."""
        ones = torch.ones(self.groups, cells.shape[3] * 32)
        return self.kernels.normalized(
            cells, ones, torch.zeros_like(ones), like.channels, self.images, self.group, 0, 1.0, None, True
        )

    def keeps_before(self, source: int) -> bool:
        """Whether a shortcut needs the gradient at a source without the slope of its activation."""
        if source == 0:
            return False
        block = self.fixed.blocks[source - 1]
        return block.shortcut is not None and not block.adds_before_activation

    def slices(self, weight: Tensor) -> int:
        """In how many parts the weights' gradient is summed: a function of the shapes alone."""
        return max(LEAST_SLICES, min(MOST_SLICES, SLICE_BYTES // (4 * weight.numel())))

    def by_group(self, sums: Tensor) -> Tensor:
        """Sums of chunks (chunks, 2, channels) to those of groups (2, groups, channels), float64."""
        total = torch.zeros(self.groups, *sums.shape[1:], dtype=torch.float64)
        return total.index_add_(0, self.group_of_chunk, sums.double()).transpose(0, 1)

    def norm(
        self,
        block: Block,
        p: Tensor,
        sums: Tensor | None,
        running_mean: Tensor,
        running_var: Tensor,
        scale: Tensor,
        bias: Tensor,
    ) -> _Norm:
        """The norm of a block from the sums that its convolution left; moves the running statistics."""
        filled = p.shape[3] * 32 - len(scale)
        if sums is None:
            mean, variance = (F.pad(each.double(), (0, filled))[None] for each in (running_mean, running_var))
        else:
            counts = self.sizes * p.shape[1] * p.shape[2]
            mean, squares = self.by_group(sums) / counts
            variance = (squares - mean.square()).clamp_min(0)
            unbiased = variance * (counts / (counts - 1).clamp_min(1))
            running_mean.lerp_(mean.mean(0)[: len(scale)].float(), block.momentum)
            running_var.lerp_(unbiased.mean(0)[: len(scale)].float(), block.momentum)
        inverse_std = (variance + block.eps).rsqrt()
        factor = F.pad(scale.detach().double(), (0, filled)) * inverse_std
        shift = F.pad(bias.detach().double(), (0, filled)) - mean * factor
        return _Norm(mean, inverse_std, factor, factor.float(), shift.float())

    def norm_backward(self, norm: _Norm, sums: Tensor, p: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The factors by which the gradient at a norm's output g becomes that at its input, f[0] * g + f[1] * p + f[2],
        (groups, 3, channels), and the gradients of scale and bias."""
        total, product = self.by_group(sums)
        by_scale = norm.inverse_std * (product - norm.mean * total)
        factors = torch.zeros(self.groups, 3, total.shape[1], dtype=torch.float64)
        factors[:, 0] = norm.factor
        if self.fixed.training:
            counts = self.sizes * p.shape[1] * p.shape[2]
            factors[:, 1] = -norm.factor * norm.inverse_std * by_scale / counts
            factors[:, 2] = -norm.factor * total / counts - factors[:, 1] * norm.mean
        return factors.float(), by_scale.sum(0).float(), total.sum(0).float()
