"""Preprocessing of images: cast, normalize and pad, once for all epochs."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from pipelines.data.dataset import Dataset

CHUNK = 2000
"""images that are converted at a time, so that float32 copies stay small"""


def to_device(images: np.ndarray, labels: np.ndarray, device: torch.device) -> tuple[Tensor, Tensor]:
    """uint8 images and integer labels as tensors on the device. From page-locked memory the copy is asynchronous."""
    images, labels = (torch.from_numpy(array).to(device, non_blocking=True) for array in (images, labels))
    return images, labels


def pinned(dataset: Dataset) -> Dataset:
    """The data set in page-locked memory, from which a GPU copies without a copy in between."""
    arrays = {name: value for name, value in vars(dataset).items() if isinstance(value, np.ndarray) and value.size}
    return replace(dataset, **{name: torch.from_numpy(array).pin_memory().numpy() for name, array in arrays.items()})


def preprocess(images: Tensor, dataset: Dataset, dtype: torch.dtype, pad: int = 0) -> Tensor:
    """Cast, normalise by the data set's mean and std, and pad by reflection.

    images: uint8 (N, height, width, channels); returns `dtype` (N, height + 2 * pad, width + 2 * pad, channels).
    """
    count, height, width, channels = images.shape
    rows, columns = (_reflected(side, pad, images.device) for side in (height, width))
    mean = torch.tensor(dataset.mean, device=images.device)
    scale = 1 / torch.tensor(dataset.std, device=images.device)
    result = torch.empty(count, len(rows), len(columns), channels, dtype=dtype, device=images.device)
    for source, target in zip(images.split(CHUNK), result.split(CHUNK), strict=True):
        target.copy_(((source.float() - mean) * scale)[:, rows[:, None], columns])
    return result


def network_inputs(images: Tensor, dataset: Dataset, dtype: torch.dtype) -> Tensor:
    """What the network gets: preprocessed images, `dtype` (N, channels, height, width); tokens as they are."""
    return images if dataset.is_tokens else preprocess(images, dataset, dtype).permute(0, 3, 1, 2)


def unpadded(images: Tensor, pad: int) -> Tensor:
    """(N, height, width, channels) images without the `pad` pixels around them."""
    return images[:, pad : images.shape[1] - pad, pad : images.shape[2] - pad]


def to_contiguous_format(images: Tensor) -> Tensor:
    """(N, channels, height, width) images in that order in memory, with its strides. Those of images with one channel
    fit both layouts, so that `contiguous` leaves them, and torch takes them for the other: they are made anew."""
    return images.contiguous().flatten(1).unflatten(1, images.shape[1:])


def held_out(dataset: Dataset, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """The held-out images on the device, (N, channels, height, width), and their labels."""
    images, labels = to_device(dataset.validation_images, dataset.validation_labels, device)
    return network_inputs(images, dataset, dtype), labels


def _reflected(side: int, pad: int, device: torch.device) -> Tensor:
    """Indices that pad `side` pixels by `pad` on both ends, mirrored at the border pixel."""
    assert pad < side
    indices = torch.arange(-pad, side + pad, device=device).abs()
    return torch.where(indices >= side, 2 * (side - 1) - indices, indices)
