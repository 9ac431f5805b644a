"""What tells one data set from another, whatever order and files its images come in."""

import hashlib

import numpy as np

from pipelines.data.dataset import Dataset


def fingerprint(dataset: Dataset) -> str:
    """SHA-256, in hexadecimal, of the sorted SHA-256 of every image with its label, training set before test set.

    The pool and what is held out count to the training set, so that a part that was set aside makes no difference.
    """
    train = _digests(dataset.train_images, dataset.train_labels) + _digests(dataset.pool_images, dataset.pool_labels)
    train += _digests(dataset.validation_images, dataset.validation_labels)
    test = _digests(dataset.test_images, dataset.test_labels)
    return hashlib.sha256(b"".join(sorted(train) + sorted(test))).hexdigest()


def in_order(dataset: Dataset) -> str:
    """SHA-256, in hexadecimal, of all images and labels in their order, which processes that share it must agree on."""
    digest = hashlib.sha256()
    for array in (dataset.train_images, dataset.train_labels, dataset.test_images, dataset.test_labels):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _digests(images: np.ndarray, labels: np.ndarray) -> list[bytes]:
    pairs = zip(images, labels.tolist(), strict=True)
    return [hashlib.sha256(bytes((label,)) + image.tobytes()).digest() for image, label in pairs]
