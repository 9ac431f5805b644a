from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.data.dataset import Dataset
from pipelines.data.fingerprint import fingerprint, in_order, is_published
from pipelines.data.sources import digits, mnist
from pipelines.data.split import labelled_fraction


@pytest.fixture
def dataset(mnist_folder: Path) -> Dataset:
    return mnist.read(mnist_folder)


def test_order_makes_no_difference(dataset: Dataset) -> None:
    turned = replace(dataset, train_images=dataset.train_images[::-1], train_labels=dataset.train_labels[::-1])
    assert fingerprint(turned) == fingerprint(dataset)
    assert fingerprint(labelled_fraction(dataset, 0.5, seed=0)) == fingerprint(dataset)


def test_a_pixel_a_label_and_the_side_of_the_split_make_one(dataset: Dataset) -> None:
    images, labels = dataset.train_images.copy(), dataset.train_labels.copy()
    images[3, 4, 5] ^= 1
    labels[:2] = labels[1::-1]
    swapped = replace(
        dataset,
        train_images=dataset.test_images,
        train_labels=dataset.test_labels,
        test_images=dataset.train_images,
        test_labels=dataset.train_labels,
    )
    others = [dataset, replace(dataset, train_images=images), replace(dataset, train_labels=labels), swapped]
    assert len({fingerprint(other) for other in others}) == 4


def test_parts_have_hashes_of_their_own(dataset: Dataset) -> None:
    images = dataset.test_images.copy()
    images[0, 0, 0] ^= 1
    before, after = in_order(dataset), in_order(replace(dataset, test_images=images))
    assert {name for name in before if before[name] != after[name]} == {"test_images"}
    turned = replace(dataset, train_images=dataset.train_images[::-1])
    assert in_order(turned)["train_images"] != before["train_images"]


def test_black_images_are_not_the_published_ones() -> None:
    published = digits.read(Path())
    assert is_published(published)
    assert is_published(labelled_fraction(published, 0.5, seed=0))
    assert not is_published(replace(published, train_images=published.train_images * 0))
