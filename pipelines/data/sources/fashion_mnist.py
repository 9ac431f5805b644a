"""Fashion-MNIST (Xiao, Rasul, Vollgraf 2017, arXiv:1708.07747): 60,000 + 10,000 grey images of 28 x 28 pixels.

Four gzipped idx files, as torchvision downloads them. Only files with the published checksums are read:
    FOLDER/FashionMNIST/raw/{train,t10k}-images-idx3-ubyte.gz, {train,t10k}-labels-idx1-ubyte.gz
"""

from pathlib import Path

import numpy as np

from pipelines.data.dataset import Dataset, labelled
from pipelines.data.download import Archive
from pipelines.data.files import absent, check_labels, missing, read_idx, read_published
from pipelines.data.sources import mnist

CLASS_NAMES = (
    "T-shirt/top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)
MEAN = (72.9404,)  # 0.2860406 * 255, of the training images
STD = (90.0212,)  # 0.3530242 * 255
FINGERPRINT = None
SHAPES = mnist.SHAPES  # training and test images

SUBFOLDER = "FashionMNIST/raw"
MD5 = {  # torchvision.datasets.FashionMNIST.resources
    "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
}
MIRRORS = (  # before torchvision's, which has no https; the MD5 is checked
    "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
)


def archives() -> tuple[Archive, ...]:
    """What to download: the authors' files, with torchvision's address last."""
    from pipelines.host.torchvision_import import import_torchvision

    mirrors = (*MIRRORS, *import_torchvision().datasets.FashionMNIST.mirrors)
    return tuple(
        Archive(f"{SUBFOLDER}/{name}", md5, tuple(mirror + name for mirror in mirrors)) for name, md5 in MD5.items()
    )


def find(folder: Path) -> Path | None:
    """The folder of the files if all four are there."""
    return None if absent(folder / SUBFOLDER, MD5) else folder / SUBFOLDER


def read(folder: Path) -> Dataset:
    """Train (60000, 28, 28, 1), test (10000, 28, 28, 1), in the order of the files.

    Raises DataError if a file is missing or has another MD5 than the published one.
    """
    if lacking := absent(folder / SUBFOLDER, MD5):
        raise missing("fashion-mnist", folder, lacking, "put the gzipped files there")
    train, test = (_read_part(folder / SUBFOLDER, part) for part in ("train", "t10k"))
    return labelled("fashion-mnist", train, test, CLASS_NAMES, MEAN, STD)


def _read_part(folder: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    images, labels = (_read(folder / f"{part}-{kind}-ubyte.gz") for kind in ("images-idx3", "labels-idx1"))
    check_labels(labels, folder / f"{part}-labels-idx1-ubyte.gz", len(CLASS_NAMES))
    return images[..., np.newaxis], labels.astype(np.int64)


def _read(path: Path) -> np.ndarray:
    read_published(path, MD5[path.name])
    return read_idx(path, mnist.FILE_SHAPES[path.stem])
