"""CIFAR-100 (Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html): 50,000 + 10,000 images of 32 x 32 pixels.

The classes are the 100 fine ones. The "python version", torchvision's, is read; its pickles are opened only if they
have the published checksums:
    FOLDER/cifar-100-python/train, test
"""

import pickle
from pathlib import Path

import numpy as np

from pipelines.data.dataset import Dataset, labelled
from pipelines.data.download import Archive
from pipelines.data.files import absent, missing, read_published

FINE_LABELS = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can
castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin
elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster
man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck
pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk
skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger
tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm
"""
CLASS_NAMES = tuple(FINE_LABELS.split())
MEAN = (129.31, 124.11, 112.40)  # of 255, from weiaicunzai/pytorch-cifar100, conf/global_settings.py
STD = (68.21, 65.41, 70.41)
FINGERPRINT = None
SHAPES = ((50_000, 32, 32, 3), (10_000, 32, 32, 3))  # training and test images

SUBFOLDER = "cifar-100-python"
MD5 = {  # torchvision.datasets.CIFAR100.train_list and .test_list
    "train": "16019d7e3df5f24257cddd939b257f8d",
    "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
}


def archives() -> tuple[Archive, ...]:
    """What to download: the archive that torchvision names."""
    from pipelines.host.torchvision_import import import_torchvision

    source = import_torchvision().datasets.CIFAR100
    members = tuple(f"{SUBFOLDER}/{name}" for name in MD5)
    return (Archive(source.filename, source.tgz_md5, (source.url,), members),)


def find(folder: Path) -> Path | None:
    """The folder of the pickles if both are there."""
    return None if absent(folder / SUBFOLDER, MD5) else folder / SUBFOLDER


def read(folder: Path) -> Dataset:
    """Train (50000, 32, 32, 3), test (10000, 32, 32, 3), in the order of the files, with the fine labels.

    Raises DataError if a file is missing or has another MD5 than the published one.
    """
    if lacking := absent(folder / SUBFOLDER, MD5):
        raise missing("cifar100", folder, lacking, f"put {SUBFOLDER} there (from cifar-100-python.tar.gz)")
    train, test = (_read_pickle(folder / SUBFOLDER / name) for name in MD5)
    return labelled("cifar100", train, test, CLASS_NAMES, MEAN, STD)


def _read_pickle(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 32, 32, 3) and labels (N,). A pickle can run any code, so its checksum comes first."""
    batch = pickle.loads(read_published(path, MD5[path.name]), encoding="bytes")  # noqa: S301  (checked)
    planes = batch[b"data"].reshape(-1, 3, 32, 32)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), np.asarray(batch[b"fine_labels"], np.int64)
