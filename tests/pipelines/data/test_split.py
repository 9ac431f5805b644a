from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.data.dataset import Dataset
from pipelines.data.fingerprint import fingerprint
from pipelines.data.split import fold_held_out, held_out, labelled_fraction, limit, select
from pipelines.recipe.training import Data


def numbered(sizes: list[int]) -> Dataset:
    """Images whose two pixels are their number, so many of each class, the same ones for training and test."""
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes))
    images = np.arange(len(labels), dtype=np.uint16).view(np.uint8).reshape(-1, 1, 2, 1)
    names = tuple(map(str, range(len(sizes))))
    return Dataset("numbered", images, labels, images, labels, images[:0], labels[:0], names, (0.0,), (1.0,))


def numbers(images: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(images).reshape(-1, 2).view(np.uint16).ravel()


def proportional(labels: np.ndarray, sizes: list[int]) -> bool:
    """Whether the classes have the shares that `sizes` gives them, to less than an image."""
    expected = np.array(sizes) * len(labels) / sum(sizes)
    return bool((np.abs(np.bincount(labels, minlength=len(sizes)) - expected) < 1 + 1e-9).all())


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
    assert proportional(part.train_labels, sizes)
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


@pytest.mark.parametrize(("part", "key"), [(labelled_fraction, "fraction"), (held_out, "validation")])
def test_a_class_of_one_image_cannot_be_in_both_parts(part, key) -> None:
    with pytest.raises(
        ValueError, match=rf"data\.{key}=0\.5 .* 3 of 6 training images, but a class has a single image"
    ):
        part(numbered([5, 1]), 0.5, seed=0)


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


@settings(deadline=None)
@given(CLASS_SIZES, st.floats(0.2, 0.8), st.integers(0, 2**32 - 1))
def test_held_out_is_exact_stratified_disjoint_complete(sizes: list[int], share: float, seed: int) -> None:
    dataset, total = numbered(sizes), sum(sizes)
    if not len(sizes) <= round(share * total) <= total - len(sizes):
        with pytest.raises(ValueError, match=r"data.validation=.* holds out .* take a fraction from"):
            held_out(dataset, share, seed)
        return
    part = held_out(dataset, share, seed)
    kept, validation = numbers(part.train_images), numbers(part.validation_images)
    assert len(validation) == round(share * total)
    assert sorted([*kept, *validation]) == list(range(total))
    assert np.array_equal(part.train_labels, dataset.train_labels[kept])
    assert np.array_equal(part.validation_labels, dataset.train_labels[validation])
    assert proportional(part.validation_labels, sizes)
    assert part.test_images is dataset.test_images
    assert fingerprint(part) == fingerprint(dataset)


@settings(deadline=None)
@given(CLASS_SIZES, st.integers(2, 4), st.integers(0, 2**32 - 1))
def test_every_image_is_in_one_fold(sizes: list[int], folds: int, seed: int) -> None:
    dataset = numbered(sizes)
    parts = [fold_held_out(dataset, folds, fold, seed) for fold in range(folds)]
    validation = [numbers(part.validation_images) for part in parts]
    assert sorted(np.concatenate(validation)) == list(range(sum(sizes)))
    for part, held in zip(parts, validation, strict=True):
        assert sorted([*numbers(part.train_images), *held]) == list(range(sum(sizes)))
        assert np.array_equal(part.validation_labels, dataset.train_labels[held])
        counts = np.bincount(part.validation_labels, minlength=len(sizes))
        assert (np.abs(counts - np.array(sizes) / folds) < 1).all()


def test_more_folds_than_a_class_has_images() -> None:
    with pytest.raises(ValueError, match=r"data\.folds=6: a class has only 5 training images"):
        fold_held_out(numbered([5, 9]), 6, 0, seed=0)


def test_the_seed_of_the_split_decides_what_is_held_out() -> None:
    dataset = numbered([50] * 10)
    for config in ({"validation": 0.1}, {"folds": 5, "fold": 1}):
        first, again, other = (
            select(dataset, Data(name="digits", split_seed=seed, **config)).validation_images for seed in (3, 3, 4)
        )
        assert np.array_equal(first, again)
        assert not np.array_equal(first, other)


def test_nothing_is_held_out_unless_asked_for() -> None:
    dataset = numbered([5, 5])
    assert select(dataset, Data(name="digits")) is dataset
    assert len(dataset.validation_images) == len(dataset.validation_labels) == 0


@pytest.mark.parametrize("config", [{"validation": 0.25}, {"folds": 4, "fold": 3}])
def test_held_out_images_come_from_the_labelled_ones_and_may_take_the_place_of_the_test_set(config: dict) -> None:
    dataset = numbered([40] * 4)
    labelled = labelled_fraction(dataset, 0.5, seed=0)
    plain, instead = (
        select(dataset, Data(name="digits", fraction=0.5, evaluate=evaluate, **config))
        for evaluate in ("test", "validation")
    )
    for part in (plain, instead):
        assert sorted([*numbers(part.train_images), *numbers(part.validation_images)]) == sorted(
            numbers(labelled.train_images)
        )
        assert len(part.validation_images) == 20
        assert np.array_equal(part.pool_images, labelled.pool_images)
    assert plain.test_images is dataset.test_images
    assert np.array_equal(instead.test_images, plain.validation_images)
    assert np.array_equal(instead.test_labels, plain.validation_labels)


def test_limit_keeps_a_part_of_what_is_held_out() -> None:
    sample = select(numbered([30] * 10), Data(name="digits", validation=0.5, limit=20, evaluate="validation"))
    assert [len(sample.train_labels), len(sample.validation_labels), len(sample.test_labels)] == [20, 20, 20]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"evaluate": "validation"}, "data.evaluate=validation needs images that are held out"),
        ({"folds": 5}, "data.folds and data.fold go together"),
        ({"fold": 0}, "data.folds and data.fold go together"),
        ({"folds": 5, "fold": 5}, "data.fold=5: of 5 folds the last is 4"),
        ({"folds": 5, "fold": 0, "validation": 0.1}, "leave data.validation=0"),
    ],
)
def test_options_that_contradict_each_other(config: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Data(name="digits", **config)
