"""Data sets by name: `digits` is read by `pipelines/data/sources/digits.py`, `fashion-mnist` by `fashion_mnist.py`.

The names are those of the recipe."""

import os
import typing
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

import numpy as np

from pipelines.data.dataset import Dataset, labelled
from pipelines.data.download import Archive, alone, obtain
from pipelines.data.files import DataError, MissingError, check_folder
from pipelines.data.sources import random_images, random_tokens
from pipelines.recipe.training import OWN, RANDOM, Data

NAMES: tuple[str, ...] = typing.get_args(Data.model_fields["name"].annotation)
SOURCES: tuple[str, ...] = tuple(name for name in NAMES if name not in (*OWN, *RANDOM))
"""the names of all published data sets"""


class Source(Protocol):
    """What the module of a data set offers."""

    FINGERPRINT: str | None
    """`fingerprint` of the published images; None: `read` accepts only files with the published checksums"""

    CLASS_NAMES: tuple[str, ...]
    MEAN: tuple[float, ...]
    STD: tuple[float, ...]

    SHAPES: tuple[tuple[int, ...], tuple[int, ...]]
    """of all training and all test images: (N, height, width, channels)"""

    def archives(self) -> tuple[Archive, ...]:
        """What to download; may import torch to find out."""

    def find(self, folder: Path) -> Path | None:
        """Where its files are, None unless all of them are there."""

    def read(self, folder: Path) -> Dataset:
        """The data set, with an empty pool. Raises MissingError for a missing file, DataError for a damaged one."""


def source(name: str) -> Source:
    """The module of a data set. ValueError for a name that is not in SOURCES."""
    if name not in SOURCES:
        raise ValueError(f"no data set is called {name!r}; there are {', '.join(SOURCES)}")
    return cast(Source, import_module(f"pipelines.data.sources.{name.replace('-', '_')}"))


def default_folder() -> Path:
    """Where data sets are kept unless something else is said: $PACELINE_DATA, else ./data."""
    return Path(os.environ.get("PACELINE_DATA") or "data").expanduser()


def load(name: str, folder: Path, *, download: bool = True) -> Dataset:
    """A data set from its files under `folder`, which are downloaded first if they are missing (unless told not to).

    Images are C-contiguous uint8 of shape (N, height, width, channels), labels int64 of shape (N,), the pool is empty.
    Any number of processes may call this at once: one of a host downloads, the others wait for it.

    Raises DataError, naming the file and the remedy, for files that are missing or damaged, a folder that cannot be
    used, or a download that failed on every mirror; ValueError for an unknown name.
    """
    module = source(name)
    check_folder(folder)
    try:
        return module.read(folder)
    except MissingError as error:
        if not download:
            raise
        missing = error
    with alone(folder, name):
        if module.find(folder) is None:  # it may have come while we waited
            try:
                obtain(module.archives(), folder)
            except DataError as failure:
                raise DataError(f"{missing}; {failure}") from failure
    return module.read(folder)


def made_up(name: str) -> Dataset:
    """Noise and labels that take turns, in the number and size of the published images: always the same."""
    generator = np.random.default_rng(0)
    shapes = dict(zip(("train_images", "test_images"), source(name).SHAPES, strict=True))
    images = {part: generator.integers(256, size=shape, dtype=np.uint8) for part, shape in shapes.items()}
    empty = images["train_images"][:0]
    return replace(blank(name), **images, pool_images=empty)


def load_of(config: Data, folder: Path, *, download: bool = True) -> Dataset:
    """The whole data set that a recipe names: made up, one of the user's own, or a published one. Raises as `load`."""
    if config.made_up:
        return random_images.make(config.made_up)
    if config.tokens:
        return random_tokens.make(config.tokens)
    if not config.path:
        return load(config.name, folder, download=download)
    from pipelines.data.sources import own

    return own.read(config)


def blank_of(config: Data) -> Dataset:
    """As `load_of`, without a download: black images in the place of published and made-up ones, zeros in the place of
    made-up tokens."""
    if config.made_up:
        return random_images.blank(config.made_up)
    if config.tokens:
        return random_tokens.blank(config.tokens)
    return blank(config.name) if config.is_published else load_of(config, Path())


def blank(name: str) -> Dataset:
    """Black images in the number and size of the published ones, which take no memory and no download."""
    module = source(name)
    train, test = (np.broadcast_to(np.uint8(0), shape) for shape in module.SHAPES)
    train_labels, test_labels = (np.arange(len(images)) % len(module.CLASS_NAMES) for images in (train, test))
    return labelled(name, (train, train_labels), (test, test_labels), module.CLASS_NAMES, module.MEAN, module.STD)
