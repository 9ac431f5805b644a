"""MNIST (LeCun, Cortes, Burges, http://yann.lecun.com/exdb/mnist/): 60,000 + 10,000 grey images of 28 x 28 pixels.

Four idx files as torchvision lays them, each plain or gzipped (the plain one is read if both are there):
    FOLDER/MNIST/raw/{train,t10k}-images-idx3-ubyte[.gz], {train,t10k}-labels-idx1-ubyte[.gz]
"""

from pathlib import Path

import numpy as np

from pipelines.data.dataset import Dataset, labelled
from pipelines.data.download import Archive
from pipelines.data.files import check_labels, missing, present, read_idx

CLASS_NAMES = tuple("0123456789")
MEAN = (33.3184,)  # 0.1307 * 255, the usual figures
STD = (78.5675,)  # 0.3081 * 255
FINGERPRINT = "6019fe9bf4c2c256d446828213e33f053c0e4bb68978d9cf2b5efa0cc8dc5753"
SHAPES = ((60_000, 28, 28, 1), (10_000, 28, 28, 1))  # training and test images

SUBFOLDER = "MNIST/raw"
FILE_SHAPES = {  # of every file, as its header must say
    "train-images-idx3-ubyte": (60_000, 28, 28),
    "train-labels-idx1-ubyte": (60_000,),
    "t10k-images-idx3-ubyte": (10_000, 28, 28),
    "t10k-labels-idx1-ubyte": (10_000,),
}


def archives() -> tuple[Archive, ...]:
    """What to download: torchvision's list of files, checksums and mirrors."""
    from pipelines.host.torchvision_import import import_torchvision

    source = import_torchvision().datasets.MNIST
    return tuple(
        Archive(f"{SUBFOLDER}/{name}", md5, tuple(mirror + name for mirror in source.mirrors))
        for name, md5 in source.resources
    )


def find(folder: Path) -> Path | None:
    """The folder of the idx files if all four are there."""
    return None if _missing(folder) else folder / SUBFOLDER


def read(folder: Path) -> Dataset:
    """Train (60000, 28, 28, 1), test (10000, 28, 28, 1), in the order of the files.

    Raises DataError if a file is missing, truncated, too long, a corrupt gzip, or has a wrong header or label.
    """
    if absent := _missing(folder):
        raise missing("mnist", folder, absent, "put them there, plain or gzipped (.gz)")
    train_labels, test_labels = (_read_labels(_path(folder, f"{part}-labels-idx1-ubyte")) for part in ("train", "t10k"))
    train_images, test_images = (
        _read(_path(folder, f"{part}-images-idx3-ubyte"))[..., np.newaxis] for part in ("train", "t10k")
    )
    train, test = (train_images, train_labels), (test_images, test_labels)
    return labelled("mnist", train, test, CLASS_NAMES, MEAN, STD)


def _path(folder: Path, name: str) -> Path:
    plain = folder / SUBFOLDER / name
    packed = plain.with_name(f"{name}.gz")
    return packed if present(packed) and not present(plain) else plain


def _missing(folder: Path) -> list[Path]:
    return [path for name in FILE_SHAPES if not present(path := _path(folder, name))]


def _read_labels(path: Path) -> np.ndarray:
    labels = _read(path)
    check_labels(labels, path, len(CLASS_NAMES))
    return labels.astype(np.int64)


def _read(path: Path) -> np.ndarray:
    return read_idx(path, FILE_SHAPES[path.name.removesuffix(".gz")])
