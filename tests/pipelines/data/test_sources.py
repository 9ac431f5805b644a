import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from pipelines.data import sources
from pipelines.data.download import Archive, alone
from pipelines.data.files import DataError
from pipelines.data.sources import cifar10, mnist
from tests.pipelines.data.synthetic import Mirror, md5


@pytest.mark.parametrize("name", sources.SOURCES)
def test_made_up_images_have_the_shape_of_the_published_ones_and_are_always_the_same(name):
    made, blank = sources.made_up(name), sources.blank(name)
    for part in ("train", "test", "pool", "validation"):
        images, labels = getattr(made, f"{part}_images"), getattr(made, f"{part}_labels")
        assert (images.shape, images.dtype) == (getattr(blank, f"{part}_images").shape, np.uint8)
        assert np.array_equal(labels, getattr(blank, f"{part}_labels"))
    assert len(np.unique(made.train_images)) == 256
    assert np.array_equal(made.test_images, sources.made_up(name).test_images)


@pytest.mark.parametrize("name", sources.SOURCES)
def test_every_source_has_the_whole_shape(name: str) -> None:
    module = sources.source(name)
    assert module.FINGERPRINT is None or len(module.FINGERPRINT) == 64
    assert len(module.MEAN) == len(module.STD) == module.SHAPES[0][-1]
    assert len(set(module.CLASS_NAMES)) == len(module.CLASS_NAMES)
    assert all(callable(getattr(module, function)) for function in ("archives", "find", "read"))


def test_unknown_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no data set is called 'imagenet'; there are cifar10, cifar100, digits, "):
        sources.load("imagenet", tmp_path)


def test_default_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACELINE_DATA", "~/sets")
    assert sources.default_folder() == Path.home() / "sets"
    monkeypatch.setenv("PACELINE_DATA", "")
    assert sources.default_folder() == Path("data")
    monkeypatch.delenv("PACELINE_DATA")
    assert sources.default_folder() == Path("data")


def test_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    with pytest.raises(DataError, match=r"data: Not a directory; .*--data-dir or PACELINE_DATA"):
        sources.load("mnist", tmp_path / "data")


def test_a_folder_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(DataError, match="Permission denied; change its permissions"):
        sources.load("mnist", tmp_path)
    monkeypatch.undo()
    monkeypatch.setattr(Path, "stat", refuse)
    with pytest.raises(DataError, match="Permission denied; change its permissions"):
        sources.load("mnist", tmp_path)


def test_downloads_what_is_missing(
    mnist_folder: Path, mirror: Callable[[], Mirror], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = mirror()
    served.files = {name: (mnist_folder / "MNIST/raw" / name).read_bytes() for name in mnist.FILE_SHAPES}
    archives = tuple(
        Archive(f"MNIST/raw/{name}", md5(content), (served.url(name),)) for name, content in served.files.items()
    )
    monkeypatch.setattr(mnist, "archives", lambda: archives)
    folder = tmp_path / "new"
    with pytest.raises(DataError, match="mnist is not in"):
        sources.load("mnist", folder, download=False)
    assert not folder.exists()
    dataset = sources.load("mnist", folder)
    assert np.array_equal(dataset.train_images, mnist.read(mnist_folder).train_images)
    sources.load("mnist", folder)
    assert len(served.requests) == 4


def test_what_came_while_waiting_is_not_downloaded_again(mnist_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mnist, "archives", lambda: pytest.fail("it is there"))
    raw, elsewhere = mnist_folder / "MNIST" / "raw", mnist_folder / "elsewhere"
    loaded = []
    with alone(mnist_folder, "mnist"):
        raw.rename(elsewhere)
        thread = Thread(target=lambda: loaded.append(sources.load("mnist", mnist_folder)))
        thread.start()
        thread.join(0.3)
        elsewhere.rename(raw)
    thread.join(60)
    assert len(loaded) == 1


def test_without_a_network_the_error_names_the_files_the_mirrors_and_the_remedies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    url = "http://127.0.0.1:9/x.tar.gz"  # nothing listens there
    monkeypatch.setattr(cifar10, "archives", lambda: (Archive("x.tar.gz", "0" * 32, (url,)),))
    with pytest.raises(DataError) as error:
        sources.load("cifar10", tmp_path)
    message = str(error.value)
    assert f"cifar10 is not in {tmp_path}: missing cifar-10-batches-bin/data_batch_1.bin, " in message
    assert "put cifar-10-batches-bin or cifar-10-batches-py there" in message
    assert f"; x.tar.gz could not be downloaded: {url} ([Errno " in message
    assert message.endswith(f"put it at {tmp_path}/x.tar.gz")


def test_an_archive_that_was_put_there_needs_no_network(
    cifar_python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "offline"
    folder.mkdir()
    with tarfile.open(folder / "c.tar.gz", "w:gz") as tar:
        tar.add(cifar_python / cifar10.PYTHON, cifar10.PYTHON)
    archive = Archive(
        "c.tar.gz", md5((folder / "c.tar.gz").read_bytes()), (), tuple(f"{cifar10.PYTHON}/{n}" for n in cifar10.MD5)
    )
    monkeypatch.setattr(cifar10, "archives", lambda: (archive,))
    assert len(sources.load("cifar10", folder).train_images) == 100


def test_catalogues_name_checksums_and_paths_inside_the_folder() -> None:
    for name in sources.SOURCES:
        for archive in sources.source(name).archives():
            assert len(archive.md5) == 32
            assert archive.urls
            for path in (archive.path, *archive.members):
                assert not Path(path).is_absolute()
                assert ".." not in Path(path).parts
    assert {archive.path for archive in mnist.archives()} == {f"MNIST/raw/{name}.gz" for name in mnist.FILE_SHAPES}
    for module in (cifar10, mnist):
        for archive in module.archives():
            assert len(archive.urls) >= 2
            assert archive.urls[0].startswith("https://")
    (archive,) = cifar10.archives()
    assert set(archive.members) == {f"cifar-10-batches-py/{name}" for name in cifar10.MD5}


def test_importing_and_reading_need_neither_torch_nor_scikit_learn() -> None:
    code = (
        "import sys; from pathlib import Path; from pipelines.data import sources, split, fingerprint;"
        "[sources.source(name) for name in sources.SOURCES]; sources.load('digits', Path('x'));"
        "assert not {'torch', 'torchvision', 'sklearn', 'scipy', 'pandas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
