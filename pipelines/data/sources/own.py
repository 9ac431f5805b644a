"""Data sets of the user's own, which nobody published: a folder of images, MNIST's file format, NumPy arrays.

name: folder   PATH/train/CLASS/*.png and PATH/test/CLASS/*.png (or val), as torchvision's ImageFolder has them
name: idx      PATH/{train,t10k}-images-idx3-ubyte[.gz] and …-labels-idx1-ubyte[.gz], as FashionMNIST and KMNIST
name: arrays   PATH.npz with train_images, train_labels, test_images, test_labels and, if wanted, class_names
"""

import lzma
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from pipelines.data.dataset import Dataset, labelled
from pipelines.data.files import DataError, read_idx
from pipelines.recipe.training import Data

SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}
DEEP = ("I", "F")
"""how the names of Pillow's modes with more than 8 bits a channel begin; it clips such images to 8 bits"""
ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")
CHUNK = 1000
"""images whose pixels are counted at a time"""


def read(config: Data) -> Dataset:
    """The data set at `config.path`, with an empty pool; mean and std are of its training images.

    Raises DataError, naming file and fault, for files that are missing, damaged or do not go together.
    """
    assert config.path
    path = Path(config.path).expanduser()
    train_images, train_labels, test_images, test_labels, names = READERS[config.name](path, config)
    train_images, test_images = (
        np.ascontiguousarray(images[..., np.newaxis] if images.ndim == 3 else images)
        for images in (train_images, test_images)
    )
    _check(path, (train_images, test_images), (train_labels, test_labels))
    if train_labels.min() == train_labels.max():
        raise DataError(f"{path}: all training images have the label {train_labels[0]}: two classes are needed or more")
    classes = int(max(train_labels.max(), test_labels.max())) + 1
    if names and len(names) < classes:
        raise DataError(f"{path}: has labels up to {classes - 1} and {len(names)} class names")
    images = len(train_labels) + len(test_labels)
    if not names and classes > images:
        raise DataError(
            f"{path}: has labels up to {classes - 1} and {images} images: number the classes from 0, or name all "
            "of them in class_names"
        )
    mean, std = _statistics(train_images)
    train = train_images, train_labels.astype(np.int64)
    test = test_images, test_labels.astype(np.int64)
    return labelled(config.name, train, test, tuple(names) or tuple(map(str, range(classes))), mean, std)


Parts = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, Sequence[str]]


def _read_folder(path: Path, config: Data) -> Parts:
    tests = [path / name for name in ("test", "val") if (path / name).is_dir()]
    if not (path / "train").is_dir() or not tests:
        raise DataError(f"{path}: needs folders train and test (or val), each with a folder of images per class")
    names = sorted(one.name for one in (path / "train").iterdir() if one.is_dir())
    unknown = {one.name for one in tests[0].iterdir() if one.is_dir()} - set(names)
    if unknown:
        raise DataError(f"{tests[0] / min(unknown)}: there are no training images of this class")
    parts = [_read_images(part, names, config.resize) for part in (path / "train", tests[0])]
    if empty := set(range(len(names))) - set(parts[0][1].tolist()):
        raise DataError(f"{path / 'train' / names[min(empty)]}: holds no images: remove the folder")
    return parts[0][0], parts[0][1], parts[1][0], parts[1][1], names


def _read_images(folder: Path, names: Sequence[str], resize: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Images in the order of their classes and file names, and their labels."""
    from PIL import Image, UnidentifiedImageError

    images, labels = [], []
    for label, name in enumerate(names):
        for path in sorted((folder / name).rglob("*")) if (folder / name).is_dir() else ():
            if path.suffix.lower() not in SUFFIXES:
                continue
            try:
                with Image.open(path) as opened_image:
                    mode = opened_image.mode
                    image = opened_image.convert("L" if mode in ("1", "L") else "RGB")
            except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
                raise DataError(f"{path}: is no image that can be read: {error}") from None
            if mode.startswith(DEEP):
                raise DataError(f"{path}: has more than 8 bits a channel ({mode}): convert it to 8 bits")
            array = np.asarray(image.resize((resize, resize), Image.Resampling.BILINEAR) if resize else image)
            if images and array.shape != images[0].shape:
                raise DataError(
                    f"{path}: has the shape {array.shape}, the images before it {images[0].shape}: set data.resize=N "
                    "for one size, and give all of them colour or none"
                )
            images.append(array)
            labels.append(label)
    if not images:
        raise DataError(f"{folder}: holds no images in folders of their classes")
    return np.stack(images), np.array(labels)


def _read_idx(path: Path, config: Data) -> Parts:
    parts = [
        _read_idx_file(path, f"{part}-{kind}-ubyte")
        for part in ("train", "t10k")
        for kind in ("images-idx3", "labels-idx1")
    ]
    return (*parts, ())


def _read_idx_file(folder: Path, name: str) -> np.ndarray:
    places = [folder / name, folder / f"{name}.gz"]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise DataError(f"{places[0]}: is not there, plain or gzipped")
    return read_idx(path, remedy="write it anew")


def _read_arrays(path: Path, config: Data) -> Parts:
    try:
        with np.load(path, allow_pickle=False) as file:
            if absent := [name for name in ARRAYS if name not in file]:
                raise DataError(f"{path}: lacks the array {absent[0]}; it needs {', '.join(ARRAYS)}")
            found = [file[name] for name in ARRAYS]
            names = [str(name) for name in file["class_names"]] if "class_names" in file else []
    except DataError:
        raise
    except (
        OSError,
        ValueError,
        TypeError,
        EOFError,
        RuntimeError,
        MemoryError,
        zipfile.BadZipFile,
        zlib.error,
        lzma.LZMAError,
    ) as error:
        raise DataError(f"{path}: is no .npz file of plain arrays: {error}") from None
    return found[0], found[1], found[2], found[3], names


READERS: dict[str, Callable[[Path, Data], Parts]] = {
    "folder": _read_folder,
    "idx": _read_idx,
    "arrays": _read_arrays,
}


def _check(path: Path, images: tuple[np.ndarray, np.ndarray], labels: tuple[np.ndarray, np.ndarray]) -> None:
    for part, ours, theirs in zip(("train", "test"), images, labels, strict=True):
        if ours.ndim != 4 or ours.dtype != np.uint8 or not ours.size:
            raise DataError(
                f"{path}: {part} images are {ours.dtype} {ours.shape}; they must be uint8 (N, H, W, channels)"
            )
        if theirs.shape != (len(ours),) or theirs.dtype.kind not in "iu" or theirs.min() < 0:
            raise DataError(
                f"{path}: {part} labels are {theirs.dtype} {theirs.shape}; they must be {len(ours)} class numbers, "
                "counted from 0"
            )
    if images[0].shape[1:] != images[1].shape[1:]:
        raise DataError(f"{path}: training images are {images[0].shape[1:]} and test images {images[1].shape[1:]}")


def _statistics(images: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel, 0 to 255; a channel that is constant has 1."""
    counts = [_histogram(images[..., channel]) for channel in range(images.shape[-1])]
    values = np.arange(256)
    means = [float((count * values).sum() / count.sum()) for count in counts]
    squares = [float((count * values**2).sum() / count.sum()) for count in counts]
    deviations = [max(square - mean**2, 0.0) ** 0.5 for square, mean in zip(squares, means, strict=True)]
    return tuple(means), tuple(one or 1.0 for one in deviations)


def _histogram(values: np.ndarray) -> np.ndarray:
    """How often each byte occurs. NumPy counts in a copy of 8 bytes each, which is made of CHUNK images at a time."""
    found = np.zeros(256, np.int64)
    for start in range(0, len(values), CHUNK):
        found += np.bincount(values[start : start + CHUNK].ravel(), minlength=256)
    return found
