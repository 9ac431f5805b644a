"""A data set in host memory: what a source hands to the loaders."""

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Dataset:
    """Images as uint8 of shape (N, height, width, channels), labels as int64 of shape (N,).

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
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width), as a network sees an image."""
        height, width, channels = self.train_images.shape[1:]
        return channels, height, width


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
