import gzip
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipelines.data.files import DataError
from pipelines.data.fingerprint import fingerprint
from pipelines.data.sources import load, mnist
from tests.pipelines.data.synthetic import idx

TRAIN_IMAGES = "MNIST/raw/train-images-idx3-ubyte"
TEST_LABELS = "MNIST/raw/t10k-labels-idx1-ubyte"


def test_reads_plain_files(mnist_folder: Path) -> None:
    dataset = mnist.read(mnist_folder)
    stored = np.frombuffer((mnist_folder / TRAIN_IMAGES).read_bytes()[16:], np.uint8)
    assert dataset.train_images.shape == (40, 28, 28, 1)
    assert dataset.test_images.shape == (20, 28, 28, 1)
    assert dataset.train_images.dtype == np.uint8
    assert dataset.train_images.flags.c_contiguous
    assert dataset.train_images.flags.writeable
    assert np.array_equal(dataset.train_images.ravel(), stored)
    assert dataset.train_labels.dtype == np.int64
    assert dataset.train_labels.tolist() == [*range(10)] * 4
    assert dataset.test_labels.tolist() == [*range(10)] * 2
    assert dataset.pool_images.shape == (0, 28, 28, 1)
    assert dataset.pool_labels.shape == (0,)
    assert dataset.image_shape == (1, 28, 28)


def test_reads_gzipped_files_as_the_plain_ones(mnist_folder: Path) -> None:
    plain = mnist.read(mnist_folder)
    for name in mnist.FILE_SHAPES:
        pack(mnist_folder / "MNIST/raw" / name)
    packed = mnist.read(mnist_folder)
    assert np.array_equal(plain.train_images, packed.train_images)
    assert np.array_equal(plain.test_labels, packed.test_labels)


def test_the_plain_file_is_read_if_both_are_there(mnist_folder: Path) -> None:
    (mnist_folder / f"{TRAIN_IMAGES}.gz").write_bytes(b"never looked at")
    assert len(mnist.read(mnist_folder).train_images) == 40


def test_names_missing_files_and_both_remedies(mnist_folder: Path) -> None:
    (mnist_folder / TEST_LABELS).unlink()
    assert mnist.find(mnist_folder) is None
    with pytest.raises(DataError) as error:
        load("mnist", mnist_folder, download=False)
    message = str(error.value)
    assert f"mnist is not in {mnist_folder}: missing {TEST_LABELS};" in message
    assert "train-images" not in message
    assert f"python bench/data.py mnist --data-dir {mnist_folder}" in message
    assert "put them there, plain or gzipped" in message


Damage = Callable[[bytes], bytes]


def truncate(content: bytes) -> bytes:
    return content[:-7]


def lengthen(content: bytes) -> bytes:
    return content + b"x"


def cut_header(content: bytes) -> bytes:
    return content[:9]


def labels_header(content: bytes) -> bytes:
    return idx(np.zeros(40, np.uint8))


def fewer_images(content: bytes) -> bytes:
    return idx(np.zeros((39, 28, 28), np.uint8))


def huge_header(content: bytes) -> bytes:
    return content[:4] + np.array((2**31 - 1, 28, 28), ">i4").tobytes() + content[16:]


def empty(content: bytes) -> bytes:
    return b""


FAULTS = [
    (truncate, "truncated: it ends 7 bytes early"),
    (lengthen, "too long: it goes on after the 31,360 bytes"),
    (cut_header, "its header says 40 x 0 x 0, expected 40 x 28 x 28"),
    (labels_header, "its header says 40, expected 40 x 28 x 28"),
    (fewer_images, "its header says 39 x 28 x 28, expected 40 x 28 x 28"),
    (huge_header, "its header says 2147483647 x 28 x 28"),
    (empty, "it begins with 0x: it is no idx file of bytes"),
]


@pytest.mark.parametrize(("damage", "fault"), FAULTS, ids=[damage.__name__ for damage, _ in FAULTS])
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_damaged_images(mnist_folder: Path, damage: Damage, fault: str, packed: bool) -> None:
    path = mnist_folder / TRAIN_IMAGES
    path.write_bytes(damage(path.read_bytes()))
    if packed:
        path = pack(path)
    with pytest.raises(DataError, match=re.escape(f"{path}: {fault}")) as error:
        load("mnist", mnist_folder)
    assert "delete it and download the data set again with bench/data.py" in str(error.value)


@pytest.mark.parametrize("damage", [truncate, lambda content: content[:30], lambda content: b"no gzip at all"])
def test_corrupt_gzip(mnist_folder: Path, damage: Damage) -> None:
    path = pack(mnist_folder / TRAIN_IMAGES)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=re.escape(f"{path}: corrupt gzip (")):
        load("mnist", mnist_folder)


def test_gzip_with_changed_content(mnist_folder: Path) -> None:
    path = pack(mnist_folder / TRAIN_IMAGES)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    with pytest.raises(DataError, match=re.escape(f"{path}: ")):
        load("mnist", mnist_folder)


def test_impossible_label(mnist_folder: Path) -> None:
    path = mnist_folder / TEST_LABELS
    path.write_bytes(idx(np.array([0, 1, 10, *[3] * 17], np.uint8)))
    with pytest.raises(DataError, match=re.escape(f"{path}: label 10 of image 2 is out of range 0 to 9")):
        load("mnist", mnist_folder)


def test_a_folder_in_place_of_a_file(mnist_folder: Path) -> None:
    path = mnist_folder / TRAIN_IMAGES
    path.unlink()
    path.mkdir()
    with pytest.raises(DataError, match=re.escape(f"{path}: Is a directory; change its permissions")):
        load("mnist", mnist_folder)


def test_the_published_images(real_data: Path) -> None:
    dataset = load("mnist", real_data, download=False)
    assert dataset.train_images.shape == (60_000, 28, 28, 1)
    assert dataset.test_images.shape == (10_000, 28, 28, 1)
    assert dataset.train_images.mean() == pytest.approx(mnist.MEAN[0], abs=0.02)
    assert dataset.train_images.std() == pytest.approx(mnist.STD[0], abs=0.02)
    assert fingerprint(dataset) == mnist.FINGERPRINT


def pack(path: Path) -> Path:
    packed = path.with_name(f"{path.name}.gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    return packed
