"""SVHN (Netzer et al. 2011, http://ufldl.stanford.edu/housenumbers): 73,257 + 26,032 images of 32 x 32 pixels.

Format 2, cropped digits, without the 531,131 extra images. Only files with the published checksums are read:
    FOLDER/train_32x32.mat, test_32x32.mat
"""

import io
from pathlib import Path

import numpy as np

from pipelines.data.dataset import Dataset, labelled
from pipelines.data.download import Archive
from pipelines.data.files import absent, missing, read_published

CLASS_NAMES = tuple("0123456789")
MEAN = (111.61, 113.16, 120.57)  # 0.4376821, 0.4437697, 0.4728044 times 255, of the training images
STD = (50.50, 51.26, 50.24)  # 0.1980301, 0.2010156, 0.1970361 times 255
FINGERPRINT = None
SHAPES = ((73_257, 32, 32, 3), (26_032, 32, 32, 3))  # training and test images

MD5 = {  # torchvision.datasets.SVHN.split_list
    "train_32x32.mat": "e26dedcc434d2e4c54c9b2d4a06d8373",
    "test_32x32.mat": "eb5a983be6a315427106f1b164d9cef3",
}


def archives() -> tuple[Archive, ...]:
    """What to download: the two files that torchvision names."""
    from pipelines.host.torchvision_import import import_torchvision

    parts = import_torchvision().datasets.SVHN.split_list
    return tuple(Archive(name, md5, (url,)) for url, name, md5 in (parts["train"], parts["test"]))


def find(folder: Path) -> Path | None:
    """The folder if both files are in it."""
    return None if absent(folder, MD5) else folder


def read(folder: Path) -> Dataset:
    """Train (73257, 32, 32, 3), test (26032, 32, 32, 3), in the order of the files. The label of a digit is the digit.

    Raises DataError if a file is missing or has another MD5 than the published one.
    """
    if lacking := absent(folder, MD5):
        raise missing("svhn", folder, lacking, "put them there")
    train, test = (_read(folder / name) for name in MD5)
    return labelled("svhn", train, test, CLASS_NAMES, MEAN, STD)


def _read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 32, 32, 3) and labels (N,); the file has the images last, and 10 for the digit 0."""
    from scipy.io import loadmat

    content = loadmat(io.BytesIO(read_published(path, MD5[path.name])))
    return np.ascontiguousarray(content["X"].transpose(3, 0, 1, 2)), content["y"].ravel().astype(np.int64) % 10
