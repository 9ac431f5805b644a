"""Files of a data set, which may be missing, damaged or not what they seem: every fault becomes one DataError."""

import gzip
import hashlib
import math
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np


class DataError(ValueError):
    """A data set is missing or damaged. The message, one line, names the file, what is wrong and the remedy."""


class MissingError(DataError):
    """A data set is not there, or not all of it."""


DOWNLOAD_AGAIN = "delete it and download the data set again with bench/data.py"
"""what helps where a published file is damaged"""


def damaged(path: Path, fault: str, remedy: str = DOWNLOAD_AGAIN) -> DataError:
    """The error for a file whose content is wrong."""
    return DataError(f"{path}: {fault}; {remedy}")


def missing(name: str, folder: Path, wanted: Sequence[Path], by_hand: str) -> MissingError:
    """The error for a data set that is not complete in `folder`; `wanted` are the files that were not found."""
    files = ", ".join(path.relative_to(folder).as_posix() for path in wanted)
    return MissingError(
        f"{name} is not in {folder}: missing {files}; {by_hand}, "
        f"or run `python bench/data.py {name} --data-dir {folder}` where there is a network"
    )


def unusable(path: Path, error: OSError) -> DataError:
    """The error for a path at which the system does not let us read or write."""
    reason = error.strerror or str(error)
    return DataError(f"{path}: {reason}; change its permissions or name another folder (--data-dir or PACELINE_DATA)")


def check_folder(folder: Path) -> None:
    """Raise DataError if `folder` exists and is not a folder that can be listed."""
    try:
        next(folder.iterdir(), None)
    except FileNotFoundError:
        return
    except OSError as error:
        raise unusable(folder, error) from error


def present(path: Path) -> bool:
    """Whether something is at `path`. Raises DataError where that cannot be found out."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise unusable(path, error) from error
    return True


def absent(folder: Path, names: Iterable[str]) -> list[Path]:
    """The files of these names that are not in a folder."""
    return [path for name in names if not present(path := folder / name)]


@contextmanager
def opened(path: Path, *, unpack: bool = True, remedy: str = DOWNLOAD_AGAIN) -> Iterator[BinaryIO]:
    """The bytes of a file, unpacked if its name ends in .gz. Faults while reading them become DataErrors."""
    try:
        with gzip.open(path) if unpack and path.suffix == ".gz" else path.open("rb") as file:
            yield file
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise damaged(path, f"corrupt gzip ({error})", remedy) from error
    except OSError as error:
        raise unusable(path, error) from error


def read_published(path: Path, md5: str) -> bytes:
    """The bytes of a file that has the published MD5. DataError for any other file, of which nothing is interpreted."""
    with opened(path, unpack=False) as file:
        content = file.read()
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != md5:
        raise damaged(path, f"its MD5 is {found}, expected {md5}: it was not opened")
    return content


def read_rest(file: BinaryIO, path: Path, count: int, remedy: str = DOWNLOAD_AGAIN) -> np.ndarray:
    """The remaining bytes as uint8 of shape (count,). Raises DataError unless there are exactly so many."""
    content = np.empty(count, np.uint8)
    read = file.readinto(content)  # type: ignore[attr-defined]
    if read < count:
        raise damaged(path, f"truncated: it ends {count - read:,} bytes early", remedy)
    if file.read(1):
        raise damaged(path, f"too long: it goes on after the {count:,} bytes that belong there", remedy)
    return content


def read_idx(path: Path, shape: tuple[int, ...] | None = None, remedy: str = DOWNLOAD_AGAIN) -> np.ndarray:
    """The bytes of a file in MNIST's format, plain or gzipped. DataError unless its header says `shape` (None: any).

    The header is two zero bytes, the type (8: bytes), the number of dimensions, and each one as a big-endian int32.
    """
    with opened(path, remedy=remedy) as file:
        magic = file.read(4)
        if len(magic) < 4 or magic[:3] != bytes((0, 0, 8)):
            raise damaged(path, f"it begins with 0x{magic.hex()}: it is no idx file of bytes", remedy)
        sizes = tuple(int.from_bytes(file.read(4)) for _ in range(magic[3]))
        if shape not in (None, sizes):
            found, expected = (" x ".join(map(str, each)) for each in (sizes, shape))
            raise damaged(path, f"its header says {found}, expected {expected}", remedy)
        try:
            return read_rest(file, path, math.prod(sizes), remedy).reshape(sizes)
        except DataError:
            raise
        except (MemoryError, ValueError) as error:
            raise damaged(path, f"the sizes in its header are wrong ({error})", remedy) from None


def check_labels(labels: np.ndarray, path: Path, classes: int) -> None:
    """Raise DataError if a label is not in 0 .. classes - 1."""
    wrong = np.flatnonzero(labels >= classes)
    if len(wrong):
        raise damaged(path, f"label {labels[wrong[0]]} of image {wrong[0]} is out of range 0 to {classes - 1}")
