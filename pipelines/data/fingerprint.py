"""What tells one data set from another, whatever order and files its images come in."""

import hashlib

import numpy as np

from pipelines.data.dataset import Dataset
from pipelines.data.sources import source


def fingerprint(dataset: Dataset) -> str:
    """SHA-256, in hexadecimal, of the sorted SHA-256 of every image with its label, training set before test set.

    The pool and what is held out count to the training set, so that a part that was set aside makes no difference.
    """
    train = _digests(dataset.train_images, dataset.train_labels) + _digests(dataset.pool_images, dataset.pool_labels)
    train += _digests(dataset.validation_images, dataset.validation_labels)
    test = _digests(dataset.test_images, dataset.test_labels)
    return hashlib.sha256(b"".join(sorted(train) + sorted(test))).hexdigest()


def in_order(dataset: Dataset) -> dict[str, str]:
    """SHA-256, in hexadecimal, of the images and labels that are trained and evaluated on, each in their order."""
    arrays = {name: getattr(dataset, name) for name in ("train_images", "train_labels", "test_images", "test_labels")}
    return {name: hashlib.sha256(np.ascontiguousarray(array).data).hexdigest() for name, array in arrays.items()}


def is_published(dataset: Dataset) -> bool:
    """Whether a whole data set, as its source read it, is the published one. ValueError for a name without a source."""
    expected = source(dataset.name).FINGERPRINT
    return expected is None or fingerprint(dataset) == expected


def _digests(images: np.ndarray, labels: np.ndarray) -> list[bytes]:
    pairs = zip(images, labels.tolist(), strict=True)
    return [hashlib.sha256(bytes((label,)) + image.tobytes()).digest() for image, label in pairs]
