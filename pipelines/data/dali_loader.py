"""The loader of NVIDIA's DALI: batches of bytes go in with what was drawn for them, augmented batches come out.

The choices are those of `pipelines/data/augment.py`, drawn in bulk, so that the images are those of the other loaders
but for the rounding of the normalisation. DALI works on the training device, some batches ahead of the training.
"""

import contextlib
from collections.abc import Iterator

import numpy as np
import torch
from nvidia.dali import fn, types
from nvidia.dali.pipeline import Pipeline
from torch import Tensor

from pipelines.data import augment
from pipelines.data.dataset import Dataset
from pipelines.data.host_loader import HostLoader
from pipelines.data.loader import Batches
from pipelines.data.resident import copy_by_pinned_memory
from pipelines.recipe import Recipe

AHEAD = 2
"""batches that DALI prepares before they are asked for"""

Inputs = tuple[np.ndarray, ...]
"""Of a batch: its padded images, uint8 (N, height, width, channels); the crop's left and top edge, as shares of the way
that it can go, float32 (N,); whether to mirror, int32 (N,); and top and left edge of the cutout, float32 (N, 2), if the
recipe has one."""


class Source:
    """What DALI calls for its next batch."""

    def __init__(self) -> None:
        self.batches: Iterator[Inputs] = iter(())

    def __call__(self) -> Inputs:
        return next(self.batches)


def make_pipeline(source: Source, recipe: Recipe, dataset: Dataset, device: torch.device, batch_size: int) -> Pipeline:
    """Crop, mirror, normalise, cut out: float32 batches of at most `batch_size` images, on a GPU if `device` is one."""
    config, (height, width) = recipe.augment, dataset.image_shape[1:]
    pipeline = Pipeline(
        batch_size,
        num_threads=recipe.loader.threads,
        device_id=device.index if device.type == "cuda" else None,
        prefetch_queue_depth=AHEAD,
    )
    with pipeline:
        columns = 4 if config.cutout else 3
        images, left, top, mirror, *cutout = fn.external_source(
            source, num_outputs=1 + columns, layout=["HWC", *[None] * columns]
        )
        images = fn.crop_mirror_normalize(
            images.gpu() if device.type == "cuda" else images,
            crop=(height, width),
            crop_pos_x=left,
            crop_pos_y=top,
            mirror=mirror,
            mean=list(dataset.mean),
            std=list(dataset.std),
            dtype=types.FLOAT,
            output_layout="HWC",
        )
        if config.cutout:
            images = fn.erase(images, anchor=cutout[0], shape=[config.cutout] * 2, axis_names="HW", fill_value=0.0)
        pipeline.set_outputs(images)
    return pipeline


class DaliLoader(HostLoader):
    """Serves a trial from bytes that lie padded in host memory."""

    def preprocess(self) -> None:
        context = self._context
        dataset, crop, world = context.dataset, context.recipe.augment.crop, context.world
        self._padded = np.pad(dataset.train_images, ((0, 0), (crop, crop), (crop, crop), (0, 0)), mode="reflect")
        self._labels = torch.from_numpy(dataset.train_labels)
        self._source = Source()
        most = -(-context.recipe.batch_size // world.size)
        self._pipeline = make_pipeline(self._source, context.recipe, dataset, world.device, most)
        self._pipeline.build()

    def epoch(self, epoch: int) -> Batches:
        order = self._order()
        columns = columns_of(self._choices(order, epoch), self._context.recipe.augment.crop)
        return DaliEpoch(self, order.batches, columns)

    def serve(self, parts: list[Tensor], columns: list[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of these images, with what was drawn for them: a row an image in each column."""
        device = self._context.world.device
        memory = torch.channels_last if self._context.recipe.channels_last else torch.contiguous_format
        stream = torch.cuda.current_stream(device) if device.type == "cuda" else None
        copy = copy_by_pinned_memory if device.type == "cuda" else Tensor.to
        self._source.batches = self._inputs(parts, columns)
        try:
            for part in parts:
                (images,) = self._pipeline.run(stream)
                images = torch.from_dlpack(images.as_tensor()).permute(0, 3, 1, 2)
                labels = copy(self._labels[part], device)
                yield images.to(dtype=self._context.dtype, memory_format=memory), labels
        finally:
            self._source.batches = iter(())
            with contextlib.suppress(StopIteration):
                while True:
                    self._pipeline.run(stream)  # what was prepared and nobody asked for
            self._pipeline.reset()

    def _inputs(self, parts: list[Tensor], columns: list[Tensor]) -> Iterator[Inputs]:
        sizes = [len(part) for part in parts]
        rows = zip(*(column.split(sizes) for column in columns), strict=True)
        for part, drawn in zip(parts, rows, strict=True):
            yield self._padded[part.numpy()], *(column.numpy() for column in drawn)

    def close(self) -> None:
        """End DALI's threads, which its pipeline takes with it."""
        del self._pipeline


def columns_of(choices: augment.Choices, crop: int) -> list[Tensor]:
    """All that DALI takes for an image but the image itself: a row an image in each."""
    way = max(2 * crop, 1)
    flip = torch.zeros_like(choices.top) if choices.flip is None else choices.flip
    columns = [choices.left.float() / way, choices.top.float() / way, flip.int()]
    if choices.cutout_top is not None and choices.cutout_left is not None:
        columns.append(torch.stack([choices.cutout_top, choices.cutout_left], 1).float())
    return columns


class DaliEpoch:
    """An epoch that DALI augments as it is asked for, shortly ahead; the same one whenever it is gone through."""

    def __init__(self, loader: DaliLoader, parts: list[Tensor], columns: list[Tensor]) -> None:
        self.indices = parts
        self._loader, self._columns = loader, columns

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return self._loader.serve(self.indices, self._columns)
