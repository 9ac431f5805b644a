"""The data sets of which only files with the published checksums are read: small files of the official layout."""

import gzip
import io
import os
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from bench import data as command
from pipelines import recipe
from pipelines.data import sources
from pipelines.data.download import Archive
from pipelines.data.files import DataError
from pipelines.data.fingerprint import is_published
from pipelines.data.sources import cifar100, fashion_mnist, mnist, svhn
from pipelines.host.torchvision_import import import_torchvision
from tests.pipelines.data.synthetic import MNIST_SHAPES, Mirror, idx, md5

NAMES = ("cifar100", "fashion-mnist", "svhn")
TRAIN, TEST = 200, 100


def pixels(count: int) -> np.ndarray:
    """(N, 32, 32, 3), random."""
    return np.random.default_rng(count).integers(256, size=(count, 32, 32, 3), dtype=np.uint8)


def cifar100_files() -> dict[str, bytes]:
    """Pickles with planes of pixels and labels that rise from 0."""
    return {
        f"{cifar100.SUBFOLDER}/{name}": pickle.dumps(
            {
                b"data": pixels(count).transpose(0, 3, 1, 2).reshape(count, -1),
                b"fine_labels": [number % 100 for number in range(count)],
                b"coarse_labels": [0] * count,
            },
            protocol=2,
        )
        for name, count in (("train", TRAIN), ("test", TEST))
    }


def svhn_files() -> dict[str, bytes]:
    """Images last, labels from 1 to 10."""
    files = {}
    for name, count in (("train", TRAIN), ("test", TEST)):
        stream = io.BytesIO()
        savemat(stream, {"X": pixels(count).transpose(1, 2, 3, 0), "y": (np.arange(count)[:, None] % 10 + 1)})
        files[f"{name}_32x32.mat"] = stream.getvalue()
    return files


def fashion_files() -> dict[str, bytes]:
    """Gzipped idx files."""
    generator = np.random.default_rng(0)
    files = {}
    for name, shape in MNIST_SHAPES.items():
        labels = np.arange(shape[0], dtype=np.uint8) % 10
        array = labels if len(shape) == 1 else generator.integers(256, size=shape, dtype=np.uint8)
        files[f"{fashion_mnist.SUBFOLDER}/{name}.gz"] = gzip.compress(idx(array))
    return files


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, bytes]]:
    """By data set and path, with their checksums in place of the published ones."""
    monkeypatch.setattr(mnist, "FILE_SHAPES", MNIST_SHAPES)
    made = {"cifar100": cifar100_files(), "svhn": svhn_files(), "fashion-mnist": fashion_files()}
    for name, contents in made.items():
        checksums = {Path(path).name: md5(content) for path, content in contents.items()}
        monkeypatch.setattr(sources.source(name), "MD5", checksums)
    return made


def write(contents: dict[str, bytes], folder: Path) -> Path:
    for path, content in contents.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_reads_what_is_there(name: str, files: dict[str, dict[str, bytes]], tmp_path: Path) -> None:
    dataset = sources.load(name, write(files[name], tmp_path), download=False)
    assert dataset.name == name
    for images, labels in (
        (dataset.train_images, dataset.train_labels),
        (dataset.test_images, dataset.test_labels),
    ):
        assert (images.dtype, labels.dtype) == (np.uint8, np.int64)
        assert images.flags.c_contiguous
        assert images.shape[1:] == sources.source(name).SHAPES[0][1:]
        assert labels.tolist()[:11] == [(number + (name == "svhn")) % 10 for number in range(10)] + [
            10 if name == "cifar100" else int(name == "svhn")
        ]
    if name != "fashion-mnist":
        assert np.array_equal(dataset.train_images, pixels(TRAIN))
        assert np.array_equal(dataset.test_images, pixels(TEST))
    assert is_published(dataset)


def test_cifar100_has_fine_classes() -> None:
    assert len(cifar100.CLASS_NAMES) == 100
    assert list(cifar100.CLASS_NAMES) == sorted(cifar100.CLASS_NAMES)
    assert (cifar100.CLASS_NAMES[0], cifar100.CLASS_NAMES[99]) == ("apple", "worm")


@pytest.mark.parametrize("name", NAMES)
def test_a_changed_file_is_not_opened(name: str, files: dict[str, dict[str, bytes]], tmp_path: Path) -> None:
    class Attack:
        def __reduce__(self) -> tuple:
            return os.mkdir, (str(tmp_path / "attacked"),)

    folder = write(files[name], tmp_path / "data")
    path = folder / next(iter(files[name]))
    path.write_bytes(pickle.dumps(Attack()))
    with pytest.raises(DataError, match=r"its MD5 is \w+, expected \w+: it was not opened; delete it and") as error:
        sources.load(name, folder)
    assert str(error.value).startswith(f"{path}: ")
    assert not (tmp_path / "attacked").exists()


@pytest.mark.parametrize("name", NAMES)
def test_the_command_downloads_and_verifies(
    name: str,
    files: dict[str, dict[str, bytes]],
    mirror: Callable[[], Mirror],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    served = mirror()
    contents = {Path(path).name: content for path, content in files[name].items()}
    members: tuple[str, ...] = ()
    places = {Path(path).name: path for path in files[name]}
    if name == "cifar100":
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w:gz") as tar:
            for path, content in files[name].items():
                member = tarfile.TarInfo(path)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
        members, contents = tuple(files[name]), {"c.tar.gz": stream.getvalue()}
        places = {"c.tar.gz": "c.tar.gz"}
    served.files = contents
    archives = tuple(
        Archive(places[file], md5(content), (served.url(file),), members) for file, content in contents.items()
    )
    monkeypatch.setattr(sources.source(name), "archives", lambda: archives)
    assert command.main([name, "--verify", "--data-dir", str(tmp_path)]) == 2
    assert f"{name} is not in {tmp_path}: missing " in capsys.readouterr().err
    assert command.main([name, "--data-dir", str(tmp_path)]) == 0
    assert f"{name}: ok" in capsys.readouterr().out
    assert len(served.requests) == len(contents)


def test_checksums_are_those_of_torchvision() -> None:
    datasets = import_torchvision().datasets
    assert dict(datasets.CIFAR100.train_list + datasets.CIFAR100.test_list) == cifar100.MD5
    assert dict(datasets.FashionMNIST.resources) == fashion_mnist.MD5
    assert {name: code for _, name, code in datasets.SVHN.split_list.values()}.items() >= svhn.MD5.items()


@pytest.mark.parametrize(("name", "of"), [("cifar100", "cifar10"), ("svhn", "cifar10"), ("fashion-mnist", "mnist")])
def test_every_recipe_takes_it_by_name(name: str, of: str) -> None:
    chosen = [one for one in recipe.names() if one.startswith(f"{of}/")]
    assert chosen
    for one in chosen:
        assert recipe.load(one, [f"data.name={name}"]).data.name == name
