"""scikit-learn's digits (the test part of UCI's "Optical Recognition of Handwritten Digits"): 1,797 images of 8 x 8.

They come with scikit-learn: nothing is downloaded, and a recipe on them runs anywhere in seconds. Its file is read
without it: importing scikit-learn brings scipy.stats and pandas, and takes longer than a short training.
"""

from importlib.util import find_spec
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
FILE = "data/digits.csv.gz"
"""under `find`: a line for each image, of its 64 values and its label"""
ORDER = Path(__file__).with_name("digits_order.txt")
"""the images' places in that file, those of the training images first. A test makes sure that they are those of
scikit-learn's stratified `train_test_split` with `test_size=0.2, random_state=0`."""


def archives() -> tuple[Archive, ...]:
    """Nothing to download."""
    return ()


def find(folder: Path) -> Path:
    """scikit-learn's own folder, whatever `folder` is."""
    (place,) = find_spec("sklearn").submodule_search_locations
    return Path(place) / "datasets"


def read(folder: Path) -> Dataset:
    """Train (1437, 8, 8, 1), test (360, 8, 8, 1): a fixed stratified split. `folder` is not looked at."""
    order = np.array(ORDER.read_text(encoding="ascii").split(), dtype=np.int64)
    lines = np.loadtxt(find(folder) / FILE, delimiter=",", dtype=np.uint8)[order]
    images, labels = (SCALE * lines[:, :-1]).reshape(-1, 8, 8, 1), lines[:, -1].astype(np.int64)
    count = SHAPES[0][0]
    train, test = (images[:count], labels[:count]), (images[count:], labels[count:])
    return labelled("digits", train, test, CLASS_NAMES, MEAN, STD)
