"""Data sets of the user's own: folders of images, idx files, arrays."""

import contextlib
import gzip
import io
import tracemalloc
import zipfile

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from pipelines import recipe
from pipelines.data import sources
from pipelines.data.files import DataError
from pipelines.data.sources import own
from pipelines.recipe.training import Data


def images(count, shape, seed=0):
    return np.random.default_rng(seed).integers(256, size=(count, *shape), dtype=np.uint8)


def write_folder(root, colour=True, sides=(6, 6), test="test"):
    for part, count in (("train", 3), (test, 2)):
        for name in ("cat", "dog"):
            place = root / part / name
            place.mkdir(parents=True)
            for number, pixels in enumerate(images(count, (*sides, 3) if colour else sides)):
                Image.fromarray(pixels).save(place / f"{number}.png")


def write_arrays(path, **changes):
    arrays = {
        "train_images": images(6, (5, 4, 3)),
        "train_labels": np.arange(6) % 3,
        "test_images": images(3, (5, 4, 3), seed=1),
        "test_labels": np.arange(3),
    }
    arrays = {name: array for name, array in (arrays | changes).items() if array is not None}
    np.savez(path, **arrays)
    return arrays


def idx(array):
    sizes = b"".join(size.to_bytes(4) for size in array.shape)
    return bytes((0, 0, 8, array.ndim)) + sizes + array.astype(np.uint8).tobytes()


def read(name, path, **settings):
    return sources.load_of(Data(name=name, path=str(path), **settings), path)


@pytest.mark.parametrize("test", ["test", "val"])
def test_a_folder_has_its_classes_by_name(tmp_path, test):
    write_folder(tmp_path, test=test)
    dataset = read("folder", tmp_path)
    assert dataset.class_names == ("cat", "dog")
    assert dataset.train_images.shape == (6, 6, 6, 3)
    assert dataset.test_labels.tolist() == [0, 0, 1, 1]
    assert (dataset.train_images[3:] == images(3, (6, 6, 3))).all()


def test_a_folder_of_grey_images_has_one_channel(tmp_path):
    write_folder(tmp_path, colour=False)
    assert read("folder", tmp_path).image_shape == (1, 6, 6)


def test_images_of_several_sizes_are_resized_or_named(tmp_path):
    write_folder(tmp_path)
    Image.fromarray(images(1, (9, 7, 3))[0]).save(tmp_path / "train" / "dog" / "9.png")
    with pytest.raises(DataError, match=r"9\.png: has the shape \(9, 7, 3\), .* set data\.resize=N"):
        read("folder", tmp_path)
    assert read("folder", tmp_path, resize=4).image_shape == (3, 4, 4)


def test_what_is_wrong_with_a_folder_is_named(tmp_path):
    with pytest.raises(DataError, match="needs folders train and test"):
        read("folder", tmp_path)
    write_folder(tmp_path)
    whole = (tmp_path / "train" / "cat" / "0.png").read_bytes()
    size = whole.index(b"IDAT") - 4
    wrong_size = whole[:size] + (20).to_bytes(4) + whole[size + 4 :]  # for which Pillow raises a SyntaxError
    for damage in (b"no image", b"", whole[:20], wrong_size):
        (tmp_path / "train" / "cat" / "broken.png").write_bytes(damage)
        with pytest.raises(DataError, match=r"broken\.png: is no image"):
            read("folder", tmp_path)
    (tmp_path / "train" / "cat" / "broken.png").unlink()
    (tmp_path / "test" / "cow").mkdir()
    with pytest.raises(DataError, match=r"test/cow: there are no training images of this class"):
        read("folder", tmp_path)


def test_a_class_without_training_images_is_named(tmp_path):
    write_folder(tmp_path)
    (tmp_path / "train" / ".ipynb_checkpoints").mkdir()
    with pytest.raises(DataError, match=r"train/\.ipynb_checkpoints: holds no images: remove the folder"):
        read("folder", tmp_path)


@pytest.mark.parametrize(("dtype", "suffix"), [(np.uint16, "png"), (np.uint16, "tif"), (np.float32, "tif")])
def test_images_with_more_than_8_bits_are_refused_and_not_clipped(tmp_path, dtype, suffix):
    write_folder(tmp_path, colour=False)
    Image.fromarray(np.full((6, 6), 1000, dtype)).save(tmp_path / "train" / "dog" / f"deep.{suffix}")
    with pytest.raises(DataError, match=rf"deep\.{suffix}: has more than 8 bits a channel \([IF].*\): convert it"):
        read("folder", tmp_path)


def test_arrays_are_taken_as_they_are(tmp_path):
    arrays = write_arrays(tmp_path / "x.npz", class_names=np.array(["a", "b", "c"]))
    dataset = read("arrays", tmp_path / "x.npz")
    assert (dataset.train_images == arrays["train_images"]).all()
    assert dataset.class_names == ("a", "b", "c")
    assert dataset.mean == pytest.approx(arrays["train_images"].mean((0, 1, 2)))
    assert dataset.std == pytest.approx(arrays["train_images"].std((0, 1, 2)))
    assert dataset.train_labels.dtype == np.int64


def test_the_mean_of_many_images_takes_little_memory():
    many = images(4000, (32, 32))
    tracemalloc.start()
    mean, std = own._statistics(many[..., np.newaxis])
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 4 * many.nbytes, "not 8 bytes a pixel of all images"
    assert (mean[0], std[0]) == (pytest.approx(many.mean()), pytest.approx(many.std()))


def test_arrays_without_channels_have_one(tmp_path):
    write_arrays(tmp_path / "x.npz", train_images=images(6, (5, 4)), test_images=images(3, (5, 4)))
    dataset = read("arrays", tmp_path / "x.npz")
    assert (dataset.image_shape, dataset.class_names) == ((1, 5, 4), ("0", "1", "2"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"test_labels": None}, "lacks the array test_labels"),
        ({"train_images": images(6, (5, 4, 3)) / 255}, r"train images are float64 .* must be uint8"),
        ({"train_labels": np.arange(5)}, r"train labels are int64 \(5,\); they must be 6 class numbers"),
        ({"train_labels": np.arange(6) - 1}, "train labels are int64 .* class numbers, counted from 0"),
        ({"train_labels": np.full(6, 3)}, "all training images have the label 3: two classes are needed"),
        ({"train_labels": np.arange(6) + 10**12}, "labels up to 1000000000005 and 9 images: number the classes from 0"),
        ({"train_images": images(6, (0, 4, 3))}, r"train images are uint8 \(6, 0, 4, 3\)"),
        ({"test_images": images(3, (4, 4, 3))}, r"training images are \(5, 4, 3\) and test images \(4, 4, 3\)"),
        ({"class_names": np.array(["a"])}, "has labels up to 2 and 1 class names"),
        ({"train_labels": np.array([None] * 6)}, "is no .npz file of plain arrays"),
    ],
)
def test_arrays_that_do_not_go_together_are_named(tmp_path, changes, words):
    write_arrays(tmp_path / "x.npz", **changes)
    with pytest.raises(DataError, match=words):
        read("arrays", tmp_path / "x.npz")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match=r"x\.npz: is no \.npz file"):
        read("arrays", tmp_path / "x.npz")
    with pytest.raises(DataError, match="train-images-idx3-ubyte: is not there"):
        read("idx", tmp_path)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_damaged_arrays_are_named(tmp_path, save):
    """Cut off anywhere, or with a wrong byte anywhere: one line, unless the damage leaves the arrays as they are."""
    path = tmp_path / "x.npz"
    save(path, **write_arrays(path))
    whole = path.read_bytes()
    for length in range(0, len(whole), 101):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"x\.npz: is no \.npz file of plain arrays"):
            read("arrays", path)
    for place in range(0, len(whole), 13):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        with contextlib.suppress(DataError):
            read("arrays", path)


def test_damaged_arrays_that_another_program_packed_are_named(tmp_path):
    """NumPy reads what zipfile unpacks, LZMA too."""
    path, packed = tmp_path / "x.npz", tmp_path / "y.npz"
    write_arrays(path)
    with zipfile.ZipFile(path) as plain, zipfile.ZipFile(packed, "w", zipfile.ZIP_LZMA) as file:
        for name in plain.namelist():
            file.writestr(name, plain.read(name))
    whole = packed.read_bytes()
    assert read("arrays", packed).class_names == ("0", "1", "2")
    properties = len("train_images.npy") + 34  # of the first array, behind its header in the archive
    packed.write_bytes(whole[:properties] + b"\xff" + whole[properties + 1 :])
    with pytest.raises(DataError, match=r"y\.npz: is no \.npz file of plain arrays"):
        read("arrays", packed)


def test_an_array_that_no_memory_holds_is_named(tmp_path):
    path = tmp_path / "x.npz"
    arrays = write_arrays(path)
    header = io.BytesIO()
    description = {"descr": "|u1", "fortran_order": False, "shape": (10**9, 10**3, 10**3, 1)}
    np.lib.format.write_array_header_1_0(header, description)
    with zipfile.ZipFile(path, "w") as file:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.save(content, array)
            file.writestr(f"{name}.npy", header.getvalue() if name == "train_images" else content.getvalue())
    with pytest.raises(DataError, match=r"x\.npz: is no \.npz file of plain arrays: Unable to allocate"):
        read("arrays", path)


def test_idx_files_plain_or_gzipped(tmp_path):
    train, test = images(4, (3, 2)), images(2, (3, 2), seed=1)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(train))
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.arange(4) % 2)))
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(test)))
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(np.arange(2)))
    dataset = read("idx", tmp_path)
    assert (dataset.train_images[..., 0] == train).all()
    assert (dataset.test_images[..., 0] == test).all()
    assert dataset.train_labels.tolist() == [0, 1, 0, 1]
    for damage, words in (
        (idx(train)[:-1], "truncated"),
        (b"", "begins with 0x: it is no idx file"),
        (bytes((0, 0, 8, 200)), "the sizes in its header are wrong"),
        (bytes((0, 0, 8, 3)) + b"\xff" * 12, "the sizes in its header are wrong"),
    ):
        (tmp_path / "train-images-idx3-ubyte").write_bytes(damage)
        with pytest.raises(DataError, match=f"{words}.*; write it anew$"):
            read("idx", tmp_path)


def test_mnist_s_own_files_give_mnist():
    folder = sources.default_folder()
    if sources.source("mnist").find(folder) is None:
        pytest.skip(f"mnist is not in {folder}; PACELINE_DATA names the folder with the data sets")
    found, published = read("idx", folder / "MNIST" / "raw"), sources.load("mnist", folder, download=False)
    assert (found.train_images == published.train_images).all()
    assert (found.test_labels == published.test_labels).all()
    assert found.mean == pytest.approx(published.mean, abs=0.01)
    assert found.std == pytest.approx(published.std, abs=0.01)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"name": "folder"}, "data.name=folder: set the path: data.path"),
        ({"name": "mnist", "path": "x"}, "data.path is for folder, idx, arrays"),
        ({"name": "arrays", "path": "x", "resize": 3}, "data.resize=3 is only for data.name=folder"),
    ],
)
def test_settings_that_do_not_go_together(settings, words):
    with pytest.raises(ValidationError, match=words):
        Data(**settings)


def test_the_place_of_the_data_is_not_part_of_a_recipe_s_hash():
    hashes = {recipe.load("digits/quick", ["data.name=arrays", f"data.path={path}"]).hash for path in "ab"}
    assert len(hashes) == 1
    assert recipe.load("digits/quick").hash not in hashes
