"""Geometric augmentation of many images at once: small affine maps and elastic deformations, each image its own."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from pipelines.host.torchvision_import import import_torchvision
from pipelines.recipe.training import Affine, Elastic


def draw_affine(config: Affine, count: int, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """`count` random rotations, scalings and shears of images of `size` (height, width), as (count, 2, 3) matrices for
    `F.affine_grid`, without shift. Its units are half a width and half a height, which differ unless images are square.
    """

    def uniform(limit: float) -> Tensor:
        return (2 * torch.rand(count, generator=generator, device=generator.device) - 1) * limit

    height, width = size
    angle, shear = uniform(math.radians(config.rotate)), uniform(math.tan(math.radians(config.shear)))
    scale = torch.exp(uniform(math.log1p(config.scale)))
    cosine, sine, zero = angle.cos() / scale, angle.sin() / scale, torch.zeros_like(angle)
    across, down = (shear * cosine - sine) * (height / width), sine * (width / height)
    rows = [torch.stack([cosine, across, zero], 1), torch.stack([down, shear * sine + cosine, zero], 1)]
    return torch.stack(rows, 1)


def draw_elastic(config: Elastic, count: int, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """`count` smooth random displacement fields, (count, height, width, 2) in the units of `F.grid_sample`.

    Simard, Steinkraus & Platt 2003: white noise blurred by a Gaussian, here scaled to a root mean square of
    `config.displacement` pixels over all images.
    """
    import_torchvision()
    from torchvision.transforms.v2.functional import gaussian_blur

    height, width = size
    noise = torch.randn(count, 2, height, width, generator=generator, device=generator.device)
    side = min(2 * math.ceil(2 * config.smoothness) + 1, 2 * min(size) - 3)  # the blur reflects at the border
    field = gaussian_blur(noise, [side, side], [config.smoothness, config.smoothness])
    field *= config.displacement / field.square().mean().sqrt()
    field[:, 0] *= 2 / width
    field[:, 1] *= 2 / height
    return field.permute(0, 2, 3, 1)


def warp(images: Tensor, affine: Tensor | None, elastic: Tensor | None) -> Tensor:
    """(N, height, width, channels) images, mapped and displaced bilinearly; what comes in is the border pixel."""
    count, height, width, channels = images.shape
    if affine is None:
        affine = torch.eye(2, 3, device=images.device).expand(count, 2, 3)
    grid = F.affine_grid(affine, [count, channels, height, width], align_corners=False)
    if elastic is not None:
        grid = grid + elastic
    warped = F.grid_sample(images.permute(0, 3, 1, 2).float(), grid, padding_mode="border", align_corners=False)
    return warped.permute(0, 2, 3, 1).to(images.dtype)
