from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.data.dataset import Dataset
from pipelines.data.split import labelled_fraction, limit


def numbered(sizes: list[int]) -> Dataset:
    """Images whose two pixels are their number, so many of each class, the same ones for training and test."""
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes))
    images = np.arange(len(labels), dtype=np.uint16).view(np.uint8).reshape(-1, 1, 2, 1)
    names = tuple(map(str, range(len(sizes))))
    return Dataset("numbered", images, labels, images, labels, images[:0], labels[:0], names, (0.0,), (1.0,))


def numbers(images: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(images).reshape(-1, 2).view(np.uint16).ravel()


CLASS_SIZES = st.lists(st.integers(4, 40), min_size=2, max_size=8)


@settings(deadline=None)  # the first call imports scikit-learn
@given(CLASS_SIZES, st.floats(0.2, 0.8), st.integers(0, 2**32 - 1))
def test_labelled_fraction_is_exact_stratified_disjoint_complete(sizes: list[int], fraction: float, seed: int) -> None:
    dataset = numbered(sizes)
    total = sum(sizes)
    if not len(sizes) <= round(fraction * total) <= total - len(sizes):
        with pytest.raises(ValueError, match="take a fraction from"):
            labelled_fraction(dataset, fraction, seed)
        return
    part = labelled_fraction(dataset, fraction, seed)
    kept, pool = numbers(part.train_images), numbers(part.pool_images)
    assert len(kept) == round(fraction * total)
    assert sorted([*kept, *pool]) == list(range(total))
    assert np.array_equal(part.train_labels, dataset.train_labels[kept])
    assert np.array_equal(part.pool_labels, dataset.train_labels[pool])
    proportional = np.array(sizes) * len(kept) / total
    assert (np.abs(np.bincount(part.train_labels, minlength=len(sizes)) - proportional) < 1 + 1e-9).all()
    assert part.test_images is dataset.test_images


def test_the_seed_alone_decides() -> None:
    dataset = numbered([50] * 10)
    first, again, other = (labelled_fraction(dataset, 0.1, seed).train_images for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_whole_training_set_is_left_alone() -> None:
    dataset = numbered([5, 5])
    assert labelled_fraction(dataset, 1.0, seed=0) is dataset


@pytest.mark.parametrize("fraction", [0.0, -0.1, 1.01, float("nan"), float("inf")])
def test_fraction_out_of_range(fraction: float) -> None:
    with pytest.raises(ValueError, match=r"data\.fraction=.*must be above 0 and at most 1"):
        labelled_fraction(numbered([5, 5]), fraction, seed=0)


@pytest.mark.parametrize(("fraction", "count"), [(0.01, 1), (0.99, 99)])
def test_fraction_that_leaves_a_part_without_a_class(fraction: float, count: int) -> None:
    with pytest.raises(ValueError, match=f"keeps {count} of 100 training images.*from 0.1 to 0.9, or 1"):
        labelled_fraction(numbered([10] * 10), fraction, seed=0)


@settings(deadline=None)
@given(CLASS_SIZES, st.integers(1, 400))
def test_limit_takes_distinct_images_evenly(sizes: list[int], most: int) -> None:
    dataset = numbered(sizes)
    sample = limit(dataset, most)
    for images, labels in ((sample.train_images, sample.train_labels), (sample.test_images, sample.test_labels)):
        chosen = numbers(images)
        assert len(chosen) == len(set(chosen)) == min(most, sum(sizes))
        assert np.array_equal(labels, dataset.train_labels[chosen])
        counts = np.bincount(labels, minlength=len(sizes))
        unexhausted = counts[counts < sizes]
        assert not len(unexhausted) or counts.max() - unexhausted.min() <= 1


def test_limits_are_nested_and_fixed() -> None:
    dataset = numbered([30] * 10)
    small, large = limit(dataset, 37), limit(dataset, 120)
    assert np.array_equal(small.train_images, large.train_images[:37])
    assert numbers(small.train_images)[:10].tolist() != list(range(10))
    assert sorted(small.train_labels[:10]) == list(range(10))


def test_limit_keeps_a_part_of_the_pool() -> None:
    sample = limit(labelled_fraction(numbered([30] * 10), 0.1, seed=0), 20)
    assert [len(sample.train_labels), len(sample.test_labels), len(sample.pool_labels)] == [20, 20, 20]
    assert not set(numbers(sample.train_images)) & set(numbers(sample.pool_images))


def test_limit_below_one() -> None:
    with pytest.raises(ValueError, match="data.limit=0: it takes at least 1 image"):
        limit(numbered([5, 5]), 0)


def test_a_split_data_set_is_not_split_again() -> None:
    dataset = numbered([5, 5])
    split = replace(dataset, pool_images=dataset.test_images, pool_labels=dataset.test_labels)
    with pytest.raises(AssertionError, match="split already"):
        labelled_fraction(split, 0.5, seed=0)
