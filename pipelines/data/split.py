"""Parts of a data set: a labelled fraction of the training set, or a small sample of everything."""

from dataclasses import replace

import numpy as np

from pipelines.data.dataset import Dataset
from pipelines.recipe.training import Data


def labelled_fraction(dataset: Dataset, fraction: float, seed: int) -> Dataset:
    """Keep round(fraction * N) training images, every class in its proportion; the others become the pool.

    Both parts stay in the order of the data set. A fraction of 1 changes nothing. Raises ValueError for a fraction
    outside (0, 1] or one that leaves either part with fewer images than there are classes.
    """
    from sklearn.model_selection import train_test_split

    assert not len(dataset.pool_images), "the training set is split already"
    if not 0 < fraction <= 1:
        raise ValueError(f"data.fraction={fraction}: it must be above 0 and at most 1 (1: the whole training set)")
    if fraction == 1:
        return dataset
    labels = dataset.train_labels
    count = round(fraction * len(labels))
    classes = len(np.unique(labels))
    if not classes <= count <= len(labels) - classes:
        raise ValueError(
            f"data.fraction={fraction} keeps {count} of {len(labels)} training images, but both they and the others "
            f"need one of each of the {classes} classes: take a fraction from {classes / len(labels):.2g} to "
            f"{1 - classes / len(labels):.6g}, or 1"
        )
    kept, pool = train_test_split(np.arange(len(labels)), train_size=count, stratify=labels, random_state=seed)
    kept.sort()
    pool.sort()
    return replace(
        dataset,
        train_images=dataset.train_images[kept],
        train_labels=labels[kept],
        pool_images=dataset.train_images[pool],
        pool_labels=labels[pool],
    )


def limit(dataset: Dataset, images: int) -> Dataset:
    """At most `images` of each part, always the same ones, the classes as equal as they can be.

    Raises ValueError for less than one image.
    """
    if images < 1:
        raise ValueError(f"data.limit={images}: it takes at least 1 image")
    chosen: dict[str, np.ndarray] = {}
    for part in ("train", "test", "pool"):
        labels = getattr(dataset, f"{part}_labels")
        first = _balanced_order(labels)[:images]
        chosen |= {f"{part}_images": getattr(dataset, f"{part}_images")[first], f"{part}_labels": labels[first]}
    return replace(dataset, **chosen)


def select(dataset: Dataset, knobs: Data) -> Dataset:
    """The part of a data set that a recipe asks for. ValueError as above."""
    dataset = labelled_fraction(dataset, knobs.fraction, knobs.split_seed)
    return dataset if knobs.limit is None else limit(dataset, knobs.limit)


def _balanced_order(labels: np.ndarray) -> np.ndarray:
    """A fixed shuffle of the indices in which the classes take turns for as long as they last."""
    shuffled = np.random.RandomState(0).permutation(len(labels))  # this generator's stream never changes
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    sizes = np.bincount(labels)
    turn = np.arange(len(labels)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return by_class[np.argsort(turn, kind="stable")]
