import os
import pickle
import re
from pathlib import Path

import numpy as np
import pytest

from pipelines.data.files import DataError
from pipelines.data.fingerprint import fingerprint
from pipelines.data.sources import cifar10, load
from pipelines.host.torchvision_import import import_torchvision
from tests.pipelines.data.synthetic import md5


def test_reads_the_binary_layout(cifar_binary: Path) -> None:
    dataset = cifar10.read(cifar_binary)
    second = np.fromfile(cifar_binary / cifar10.BINARY / "data_batch_2.bin", np.uint8).reshape(20, 3073)
    assert dataset.train_images.shape == (100, 32, 32, 3)
    assert dataset.test_images.shape == (20, 32, 32, 3)
    assert dataset.train_images.dtype == np.uint8
    assert dataset.train_images.flags.c_contiguous
    assert dataset.train_labels.dtype == np.int64
    assert dataset.train_labels[20:40].tolist() == second[:, 0].tolist()
    pixels = second[7, 1:].reshape(3, 32, 32)
    assert dataset.train_images[27, 5, 31].tolist() == pixels[:, 5, 31].tolist()
    assert np.array_equal(dataset.train_images[27].transpose(2, 0, 1), pixels)
    assert len(dataset.pool_images) == len(dataset.pool_labels) == 0
    assert dataset.image_shape == (3, 32, 32)


def test_both_layouts_are_the_same_data_set(cifar_binary: Path, cifar_python: Path) -> None:
    binary, python = cifar10.read(cifar_binary), cifar10.read(cifar_python)
    assert cifar10.find(cifar_python) == cifar_python / "cifar-10-batches-py"
    for part in ("train_images", "train_labels", "test_images", "test_labels"):
        assert np.array_equal(getattr(binary, part), getattr(python, part))
    assert python.train_images.flags.c_contiguous
    assert python.train_labels.dtype == np.int64


def test_a_complete_layout_is_preferred_to_a_broken_off_one(cifar_binary: Path, cifar_python: Path) -> None:
    (cifar_python / cifar10.BINARY).mkdir()
    assert cifar10.find(cifar_python) == cifar_python / cifar10.PYTHON
    (cifar_binary / cifar10.PYTHON).mkdir()
    assert cifar10.find(cifar_binary) == cifar_binary / cifar10.BINARY


def test_a_pickle_of_python_2(cifar_python: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The published pickles were written by Python 2: strings are bytes, NumPy's module had another name."""
    data = np.arange(20 * 3072).astype(np.uint8)
    content = (
        b"\x80\x02}(U\x04datacnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x14M\x00\x0c\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        + b"T"
        + len(data).to_bytes(4, "little")
        + data.tobytes()
        + b"tbU\x06labels]("
        + b"K\x04" * 20
        + b"eu."
    )
    (cifar_python / cifar10.PYTHON / "test_batch").write_bytes(content)
    monkeypatch.setitem(cifar10.MD5, "test_batch", md5(content))
    dataset = cifar10.read(cifar_python)
    assert dataset.test_labels.tolist() == [4] * 20
    assert np.array_equal(dataset.test_images[0].transpose(2, 0, 1).ravel(), data[:3072])


def test_a_changed_pickle_is_not_opened(cifar_python: Path, tmp_path: Path) -> None:
    class Attack:
        def __reduce__(self) -> tuple:
            return os.mkdir, (str(tmp_path / "attacked"),)

    path = cifar_python / cifar10.PYTHON / "data_batch_3"
    path.write_bytes(pickle.dumps(Attack()))
    with pytest.raises(DataError, match="it was not opened") as error:
        load("cifar10", cifar_python)
    assert str(error.value).startswith(f"{path}: its MD5 is ")
    assert cifar10.MD5["data_batch_3"] in str(error.value)
    assert not (tmp_path / "attacked").exists()


@pytest.mark.parametrize(
    ("change", "fault"),
    [(-1, "truncated: it ends 1 bytes early"), (5, "too long: it goes on after the 61,460 bytes")],
)
def test_binary_file_of_a_wrong_length(cifar_binary: Path, change: int, fault: str) -> None:
    path = cifar_binary / cifar10.BINARY / "data_batch_4.bin"
    os.truncate(path, path.stat().st_size + change)
    with pytest.raises(DataError, match=re.escape(f"{path}: {fault}")):
        load("cifar10", cifar_binary)


def test_impossible_label(cifar_binary: Path) -> None:
    path = cifar_binary / cifar10.BINARY / "test_batch.bin"
    content = bytearray(path.read_bytes())
    content[3 * 3073] = 255
    path.write_bytes(content)
    with pytest.raises(DataError, match=re.escape(f"{path}: label 255 of image 3 is out of range 0 to 9")):
        load("cifar10", cifar_binary)


def test_names_the_missing_files_of_both_layouts(cifar_binary: Path) -> None:
    (cifar_binary / cifar10.BINARY / "data_batch_5.bin").unlink()
    with pytest.raises(DataError) as error:
        load("cifar10", cifar_binary, download=False)
    message = str(error.value)
    assert f"cifar10 is not in {cifar_binary}: missing cifar-10-batches-bin/data_batch_5.bin, cifar-10-b" in message
    assert "cifar-10-batches-py/test_batch" in message
    assert f"python bench/data.py cifar10 --data-dir {cifar_binary}" in message
    assert "put cifar-10-batches-bin or cifar-10-batches-py there" in message


def test_checksums_are_those_of_torchvision() -> None:
    source = import_torchvision().datasets.CIFAR10
    assert dict(source.train_list + source.test_list) == cifar10.MD5
    (archive,) = cifar10.archives()
    assert archive.md5 == "c58f30108f718f92721af3b95e74349a"
    assert archive.urls[0].endswith("/cifar-10-python.tar.gz")
    assert archive.urls[-1] == source.url


def test_the_published_images(real_data: Path) -> None:
    dataset = load("cifar10", real_data, download=False)
    assert np.bincount(dataset.train_labels).tolist() == [5_000] * 10
    assert np.bincount(dataset.test_labels).tolist() == [1_000] * 10
    for channel in range(3):
        counts = np.bincount(dataset.train_images[..., channel].ravel(), minlength=256) / (50_000 * 32 * 32)
        mean = counts @ np.arange(256)
        assert mean == pytest.approx(cifar10.MEAN[channel], abs=0.005)
        assert np.sqrt(counts @ (np.arange(256) - mean) ** 2) == pytest.approx(cifar10.STD[channel], abs=0.005)
    assert fingerprint(dataset) == cifar10.FINGERPRINT
