"""scikit-learn's digits (the test part of UCI's "Optical Recognition of Handwritten Digits"): 1,797 images of 8 x 8.

They come with scikit-learn: nothing is downloaded, and a recipe on them runs anywhere in seconds.
"""

from pathlib import Path

import numpy as np

from pipelines.data.dataset import Dataset, labelled
from pipelines.data.download import Archive

CLASS_NAMES = tuple("0123456789")
MEAN = (73.2920,)  # train_images.mean(); a test computes both again
STD = (90.2686,)  # train_images.std()
FINGERPRINT = "4c3ca7a9c9cb7ec83e27936955a009cceb2b912a7fee7060b07e5888c7787316"
SHAPES = ((1437, 8, 8, 1), (360, 8, 8, 1))  # training and test images

SCALE = 15  # the data set has values 0 to 16; with 15 they use the range of a byte
TEST_FRACTION = 0.2
SPLIT_SEED = 0


def archives() -> tuple[Archive, ...]:
    """Nothing to download."""
    return ()


def find(folder: Path) -> Path:
    """scikit-learn's own folder, whatever `folder` is."""
    import sklearn.datasets

    return Path(sklearn.datasets.__path__[0])


def read(folder: Path) -> Dataset:
    """Train (1437, 8, 8, 1), test (360, 8, 8, 1): a fixed stratified split. `folder` is not looked at."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    images = (digits.images * SCALE).astype(np.uint8)[..., np.newaxis]
    labels = digits.target.astype(np.int64)
    train_images, test_images, train_labels, test_labels = train_test_split(
        images, labels, test_size=TEST_FRACTION, stratify=labels, random_state=SPLIT_SEED
    )
    train, test = (train_images, train_labels), (test_images, test_labels)
    return labelled("digits", train, test, CLASS_NAMES, MEAN, STD)
