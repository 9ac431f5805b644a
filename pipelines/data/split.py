"""Parts of a data set: a labelled fraction of the training set, images held out of it, a small sample of everything."""

from dataclasses import replace

import numpy as np

from pipelines.data.dataset import Dataset
from pipelines.recipe.training import Data


def labelled_fraction(dataset: Dataset, fraction: float, seed: int) -> Dataset:
    """Keep round(fraction * N) training images, every class in its proportion; the others become the pool.

    Both parts stay in the order of the data set. A fraction of 1 changes nothing. Raises ValueError for a fraction
    outside (0, 1] or one that leaves either part with fewer images than there are classes.
    """
    assert not len(dataset.pool_images), "the training set is split already"
    if not 0 < fraction <= 1:
        raise ValueError(f"data.fraction={fraction}: it must be above 0 and at most 1 (1: the whole training set)")
    if fraction == 1:
        return dataset
    labels = dataset.train_labels
    count = round(fraction * len(labels))
    _check_parts(f"data.fraction={fraction} keeps", count, labels, "or 1")
    kept, pool = _stratified(labels, count, seed)
    return replace(
        dataset,
        train_images=dataset.train_images[kept],
        train_labels=labels[kept],
        pool_images=dataset.train_images[pool],
        pool_labels=labels[pool],
    )


def held_out(dataset: Dataset, share: float, seed: int) -> Dataset:
    """Hold round(share * N) training images out for validation, every class in its proportion.

    Both parts stay in the order of the data set. A share of 0 changes nothing. Raises ValueError for one that leaves
    either part with fewer images than there are classes.
    """
    if share == 0:
        return dataset
    labels = dataset.train_labels
    count = round(share * len(labels))
    _check_parts(f"data.validation={share} holds out", count, labels, "or 0")
    validation, kept = _stratified(labels, count, seed)
    return _with_validation(dataset, kept, validation)


def fold_held_out(dataset: Dataset, folds: int, fold: int, seed: int) -> Dataset:
    """Hold the `fold`-th of `folds` stratified parts of the training images out for validation: cross-validation.

    Every image is in one of the parts, whose sizes differ by at most one a class. Raises ValueError when a class has
    fewer images than there are folds.
    """
    from sklearn.model_selection import StratifiedKFold

    labels = dataset.train_labels
    fewest = np.unique(labels, return_counts=True)[1].min()
    if folds > fewest:
        raise ValueError(f"data.folds={folds}: a class has only {fewest} training images; use at most {fewest} folds")
    parts = StratifiedKFold(folds, shuffle=True, random_state=seed).split(labels, labels)
    return _with_validation(dataset, *list(parts)[fold])


def limit(dataset: Dataset, images: int) -> Dataset:
    """At most `images` of each part, always the same ones, the classes as equal as they can be.

    Raises ValueError for less than one image.
    """
    if images < 1:
        raise ValueError(f"data.limit={images}: it takes at least 1 image")
    chosen: dict[str, np.ndarray] = {}
    for part in ("train", "test", "pool", "validation"):
        labels = getattr(dataset, f"{part}_labels")
        first = _balanced_order(labels)[:images]
        chosen |= {f"{part}_images": getattr(dataset, f"{part}_images")[first], f"{part}_labels": labels[first]}
    return replace(dataset, **chosen)


def select(dataset: Dataset, config: Data) -> Dataset:
    """The part of a data set that a recipe asks for. ValueError as above.

    Where accuracy is measured on held-out images, they stand in the place of the test set, which nothing then sees.
    """
    dataset = labelled_fraction(dataset, config.fraction, config.split_seed)
    if config.folds is not None and config.fold is not None:
        dataset = fold_held_out(dataset, config.folds, config.fold, config.split_seed)
    else:
        dataset = held_out(dataset, config.validation, config.split_seed)
    if config.limit is not None:
        dataset = limit(dataset, config.limit)
    if config.evaluate == "validation":
        dataset = replace(dataset, test_images=dataset.validation_images, test_labels=dataset.validation_labels)
    return dataset


def _check_parts(what: str, count: int, labels: np.ndarray, otherwise: str) -> None:
    """ValueError when `count` of the images, or the others, cannot have one of each class."""
    counts = np.unique(labels, return_counts=True)[1]
    classes = len(counts)
    if counts.min() < 2:
        raise ValueError(
            f"{what} {count} of {len(labels)} training images, but a class has a single image, and both parts need "
            "one: add images of it"
        )
    if not classes <= count <= len(labels) - classes:
        raise ValueError(
            f"{what} {count} of {len(labels)} training images, but both they and the others need one of each of the "
            f"{classes} classes: take a fraction from {classes / len(labels):.2g} to "
            f"{1 - classes / len(labels):.6g}, {otherwise}"
        )


def _stratified(labels: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of `count` images with every class in its proportion, and those of the others, both in order."""
    from sklearn.model_selection import train_test_split

    first, second = train_test_split(np.arange(len(labels)), train_size=count, stratify=labels, random_state=seed)
    return np.sort(first), np.sort(second)


def _with_validation(dataset: Dataset, kept: np.ndarray, validation: np.ndarray) -> Dataset:
    images, labels = dataset.train_images, dataset.train_labels
    return replace(
        dataset,
        train_images=images[kept],
        train_labels=labels[kept],
        validation_images=images[validation],
        validation_labels=labels[validation],
    )


def _balanced_order(labels: np.ndarray) -> np.ndarray:
    """A fixed shuffle of the indices in which the classes take turns for as long as they last."""
    shuffled = np.random.RandomState(0).permutation(len(labels))  # this generator's stream never changes
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    sizes = np.bincount(labels)
    turn = np.arange(len(labels)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return by_class[np.argsort(turn, kind="stable")]
