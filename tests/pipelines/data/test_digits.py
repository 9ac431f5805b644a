from pathlib import Path

import numpy as np
import pytest

from pipelines.data.fingerprint import fingerprint
from pipelines.data.sources import digits, load


def test_digits_need_no_folder(tmp_path: Path) -> None:
    dataset = load("digits", tmp_path / "nothing-here")
    assert not (tmp_path / "nothing-here").exists()
    assert dataset.train_images.shape == (1437, 8, 8, 1)
    assert dataset.test_images.shape == (360, 8, 8, 1)
    assert dataset.train_images.dtype == np.uint8
    assert dataset.train_images.flags.c_contiguous
    assert dataset.train_images.max() == 240
    assert dataset.train_labels.dtype == np.int64
    assert len(dataset.pool_images) == len(dataset.pool_labels) == 0


def test_every_image_is_in_one_part_and_classes_are_in_proportion() -> None:
    from sklearn.datasets import load_digits

    dataset = digits.read(Path())
    both = np.concatenate([dataset.train_images, dataset.test_images]).reshape(-1, 64)
    originals = load_digits().data * 15
    assert sorted(map(tuple, both.tolist())) == sorted(map(tuple, originals.astype(int).tolist()))
    share = np.bincount(dataset.test_labels) / (np.bincount(dataset.train_labels) + np.bincount(dataset.test_labels))
    assert share == pytest.approx(0.2, abs=0.005)


def test_the_split_is_that_of_scikit_learn() -> None:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    originals, dataset = load_digits(), digits.read(Path())
    images, labels = originals.images[..., np.newaxis] * 15, originals.target
    parts = train_test_split(images, labels, test_size=0.2, stratify=labels, random_state=0)
    ours = (dataset.train_images, dataset.test_images, dataset.train_labels, dataset.test_labels)
    for own, part in zip(ours, parts, strict=True):
        np.testing.assert_array_equal(own, part)


def test_constants_are_those_of_the_training_part() -> None:
    dataset = digits.read(Path())
    assert dataset.train_images.mean() == pytest.approx(dataset.mean[0], abs=5e-5)
    assert dataset.train_images.std() == pytest.approx(dataset.std[0], abs=5e-5)
    assert fingerprint(dataset) == digits.FINGERPRINT
