"""Random images of any size, for measurements of throughput (`data.name: made-up`)."""

import numpy as np

from pipelines.data.dataset import Dataset, labelled
from pipelines.recipe.training import MADE_UP, MadeUp

CENTRE, SPREAD = 127.5, 73.9
"""mean and standard deviation of uniform bytes; the latter is sqrt((256**2 - 1) / 12)"""


def make(config: MadeUp) -> Dataset:
    """Uniform bytes, always the same. Labels go round the classes; the test set is empty."""
    return _dataset(config, np.random.default_rng(0).integers(256, size=_shape(config), dtype=np.uint8))


def blank(config: MadeUp) -> Dataset:
    """As `make`, black, so that it takes no memory."""
    return _dataset(config, np.broadcast_to(np.uint8(0), _shape(config)))


def _shape(config: MadeUp) -> tuple[int, int, int, int]:
    return config.images, config.size, config.size, config.channels


def _dataset(config: MadeUp, images: np.ndarray) -> Dataset:
    labels = np.arange(config.images, dtype=np.int64) % config.classes
    names = tuple(map(str, range(config.classes)))
    mean, std = ((value,) * config.channels for value in (CENTRE, SPREAD))
    return labelled(MADE_UP, (images, labels), (images[:0], labels[:0]), names, mean, std)
