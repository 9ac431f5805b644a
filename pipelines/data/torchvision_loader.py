"""The loader that most people write: single images, torchvision's transforms, torch's DataLoader with its workers."""

import contextlib
import os
import signal
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from pipelines.data.host_loader import HostLoader
from pipelines.data.loader import Batches, LoaderContext
from pipelines.data.order import EpochOrder
from pipelines.data.preprocess import preprocess
from pipelines.distributed.process_group import summary_line
from pipelines.host import runtime
from pipelines.host.torchvision_import import import_torchvision
from pipelines.recipe.training import Augment

import_torchvision()
from torchvision.transforms import v2  # noqa: E402 (the line above makes it importable)

FULL = ("No space left on device", "out of shared memory")
"""what torch and the system say of a full /dev/shm"""


class Row(NamedTuple):
    """An image to load, and what has been drawn for it."""

    index: int
    top: int
    left: int
    flip: int
    cutout_top: int
    cutout_left: int


class Cutout(v2.Transform):
    """Sets a square of `side` pixels, wholly inside the image, to zero. v2.RandomErasing draws area and shape too."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def make_params(self, flat_inputs: list[Tensor]) -> dict[str, int]:
        height, width = flat_inputs[0].shape[-2:]
        top, left = (int(torch.randint(length - self.side + 1, ())) for length in (height, width))
        return {"top": top, "left": left}

    def transform(self, inpt: Tensor, params: dict[str, int]) -> Tensor:
        return v2.functional.erase(inpt, params["top"], params["left"], self.side, self.side, torch.zeros(()))


class RandomImages(torch.utils.data.Dataset):
    """Single images for which everything is drawn as they are loaded, from torch's global generator."""

    def __init__(self, images: Tensor, labels: list[int], prepare: list[v2.Transform], config: Augment) -> None:
        size = [side - 2 * config.crop for side in padded_size(images, prepare, config)]
        steps = [*prepare]
        if config.crop:
            steps.append(v2.RandomCrop(size))
        if config.flip == "random":
            steps.append(v2.RandomHorizontalFlip())
        if config.cutout:
            steps.append(Cutout(config.cutout))
        self._images, self._labels = images, labels
        self._transform = v2.Compose(steps) if steps else v2.Identity()

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self._transform(self._images[index]), self._labels[index]


class ChosenImages(torch.utils.data.Dataset):
    """Single images for which everything has been drawn."""

    def __init__(self, images: Tensor, labels: list[int], prepare: list[v2.Transform], config: Augment) -> None:
        self._size = [side - 2 * config.crop for side in padded_size(images, prepare, config)]
        self._images, self._labels, self._cutout = images, labels, config.cutout
        self._prepare = v2.Compose(prepare) if prepare else v2.Identity()

    def __getitem__(self, row: Row) -> tuple[Tensor, int]:
        image = v2.functional.crop(self._prepare(self._images[row.index]), row.top, row.left, *self._size)
        if row.flip:
            image = v2.functional.horizontal_flip(image)
        if self._cutout:
            box = (row.cutout_top, row.cutout_left, self._cutout, self._cutout)
            image = v2.functional.erase(image, *box, torch.zeros(()))
        return image, self._labels[row.index]


def padded_size(images: Tensor, prepare: list[v2.Transform], config: Augment) -> list[int]:
    """Height and width of an image when it has been prepared."""
    pad = 2 * config.crop if prepare else 0
    return [side + pad for side in images.shape[-2:]]


class EpochSampler:
    """The batches of the epoch in progress, each a list of what the data set takes for an index."""

    def __init__(self) -> None:
        self.batches: list[list[int]] | list[list[Row]] = []

    def __iter__(self) -> Iterator[list[int]] | Iterator[list[Row]]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


class TorchvisionLoader(HostLoader):
    """Serves a trial image by image.

    The workers seed torch's global generator, from which the transforms draw, by the augmentation's seed and their
    number, so that what is drawn depends on `loader.workers` too. They compute with one thread each and end with the
    process that trains.
    """

    def preprocess(self) -> None:
        context, config = self._context, self._context.recipe.loader
        dataset, crop = context.dataset, context.recipe.augment.crop
        images = torch.from_numpy(dataset.train_images)
        if config.preprocess == "once":
            images = preprocess(images, dataset, context.dtype, pad=crop)
            prepare = []
        else:
            pad = [v2.Pad(crop, padding_mode="reflect")] if crop else []
            prepare = [*pad, v2.ToDtype(torch.float32), v2.Normalize(dataset.mean, dataset.std)]
        # a copy also of images with one channel: workers must not read page-locked memory, which a fork may not map
        images = images.permute(0, 3, 1, 2).clone(memory_format=torch.contiguous_format)
        kind = ChosenImages if config.choices == "bulk" else RandomImages
        self._sampler = EpochSampler()
        self._batches = DataLoader(
            kind(images, dataset.train_labels.tolist(), prepare, context.recipe.augment),
            batch_sampler=self._sampler,
            num_workers=config.workers,
            persistent_workers=config.workers > 0,
            pin_memory=context.world.device.type == "cuda",
            generator=torch.Generator().manual_seed(context.augment_seed),  # draws the seed of the workers
            worker_init_fn=attach_to_training,
        )

    def epoch(self, epoch: int) -> Batches:
        context, recipe = self._context, self._context.recipe
        order = self._order()
        parts = order.batches
        self._sampler.batches = [part.tolist() for part in parts]
        batches = self._batches
        if recipe.loader.choices == "bulk":
            rows = iter(self._draw(order, epoch))
            self._sampler.batches = [[next(rows) for _ in part] for part in parts]
        elif not recipe.loader.workers:
            batches = drawing_from(self._augment_generator, self._batches)
        return Loaded(batches, parts, context)

    def _draw(self, order: EpochOrder, epoch: int) -> list[Row]:
        """What to do with each image of this process in an epoch."""
        choices = self._choices(order, epoch)
        drawn = (choices.top, choices.left, choices.flip, choices.cutout_top, choices.cutout_left)
        images = torch.cat(order.batches)
        columns = [images, *(torch.zeros_like(images) if column is None else column for column in drawn)]
        return [Row(*row) for row in torch.stack(columns, 1).tolist()]

    def close(self) -> None:
        workers = self._batches._iterator
        if workers is not None:
            workers._shutdown_workers()
            self._batches._iterator = None


def attach_to_training(worker: int) -> None:
    """Let the training process alone end this worker, as torch has it, and end with it at once if it is killed.

    In a process group of its own, so that Ctrl-C and SIGTERM reach the training process alone. Slurm and systemd send
    SIGTERM to every process of a job, and torch takes a worker that dies of it for an error: it ends with status 0.
    torch's workers look for the death of the training process every 5 s
    (`torch.utils.data._utils.MP_STATUS_CHECK_INTERVAL`).
    """
    os.setpgid(0, 0)
    signal.signal(signal.SIGTERM, lambda number, frame: os._exit(0))
    runtime.end_with_parent(signal.SIGKILL)


def drawing_from(generator: torch.Generator, batches: DataLoader) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches, while torch's global generator is in the state of `generator`, and left as it was between them."""
    iterator = iter(batches)
    for _ in range(len(batches)):
        with torch.random.fork_rng(devices=()):
            torch.set_rng_state(generator.get_state())
            batch = next(iterator)
            generator.set_state(torch.get_rng_state())
        yield batch


class Loaded:
    """An epoch whose batches are loaded as they are asked for, or shortly before, and moved to the training device."""

    def __init__(self, batches: Iterator | DataLoader, indices: list[Tensor], context: LoaderContext) -> None:
        self.indices = indices
        self._batches = batches
        self._device, self._dtype = context.world.device, context.dtype
        self._memory = torch.channels_last if context.recipe.channels_last else torch.contiguous_format

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        with naming_shared_memory():
            for images, labels in self._batches:
                images, labels = (tensor.to(self._device, non_blocking=True) for tensor in (images, labels))
                yield images.to(dtype=self._dtype, memory_format=self._memory), labels


@contextlib.contextmanager
def naming_shared_memory() -> Iterator[None]:
    """OSError, with the remedy, where the shared memory is too small for the batches of the workers."""
    try:
        yield
    except (RuntimeError, OSError) as error:
        reason = summary_line(error)
        if not any(words in reason for words in FULL):
            raise
        # torch 2.13 forgets to set this before it makes its queues, and prints a traceback when their memory is freed
        _MultiProcessingDataLoaderIter._shutdown = True
        raise OSError(
            f"the workers of the loader find no room in /dev/shm: {reason}; use a smaller loader.workers or "
            "batch_size, loader.workers=0, or enlarge it (docker run --shm-size)"
        ) from error
