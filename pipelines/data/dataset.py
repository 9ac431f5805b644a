"""A data set in host memory: what a source hands to the loaders."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np


@dataclass(frozen=True)
class Dataset:
    """Images as uint8 of shape (N, height, width, channels), labels as int64 of shape (N,).

    Of a data set of tokens, `images` are sequences, int64 of shape (N, length), and `labels` the targets of their
    tokens, of the same dtype and shape. `mean` and `std` are then empty.

    `pool_images` are training images whose labels the recipe may not see (empty unless the recipe trains on a part of
    the training set), `validation_images` are labelled ones that are held out (empty unless the recipe asks for them);
    `mean` and `std` are per channel on the 0-255 scale.
    """

    name: str
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    pool_images: np.ndarray
    pool_labels: np.ndarray
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    validation_images: np.ndarray = field(default_factory=lambda: np.empty((0, 1, 1, 1), np.uint8))
    validation_labels: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))

    @property
    def image_shape(self) -> tuple[int, ...]:
        """(channels, height, width), as a network sees an image; (length,) of a sequence of tokens."""
        *sides, last = self.train_images.shape[1:]
        return last, *sides

    @property
    def is_tokens(self) -> bool:
        """Whether it consists of sequences of tokens, and not of images."""
        return self.train_images.ndim == 2

    def noise(self, counts: Mapping[str, int]) -> "Dataset":
        """Random images and labels, always the same, in the shapes of this data set: so many by the name of a part,
        such as `train`."""
        generator = np.random.default_rng(0)
        classes, (images, labels) = len(self.class_names), (self.train_images, self.train_labels)
        values = classes if self.is_tokens else 256
        parts = {}
        for part, count in counts.items():
            shape = (count, *images.shape[1:])
            parts[f"{part}_images"] = generator.integers(values, size=shape, dtype=images.dtype)
            parts[f"{part}_labels"] = generator.integers(classes, size=(count, *labels.shape[1:]))
        return replace(self, **parts)


def labelled(
    name: str,
    train: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    class_names: tuple[str, ...],
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> Dataset:
    """A data set whose training images all have labels, so that the pool is empty. train, test: images and labels."""
    (images, labels), (test_images, test_labels) = train, test
    return Dataset(name, images, labels, test_images, test_labels, images[:0], labels[:0], class_names, mean, std)
