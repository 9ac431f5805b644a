"""Files that a crash at any moment leaves whole: replaced at once, or longer by a line."""

import errno
import hashlib
import os
import re
import secrets
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

MOST_KEPT = 1_000_000
"""bytes of a text that was trained, up to which it is kept beside the record"""
UNCOMMITTED = "uncommitted.diff"
"""file in `source/` of a run with the changes of Paceline's own code that are in no commit"""
LONGEST_NAME = 200
"""characters of a name that is made from a path; file systems allow 255 bytes"""


def write_atomically(path: Path, text: str) -> None:
    """Replace the file by `text`, on the disk and not in a cache, so that a crash leaves the old or the new.

    Others may read it as far as the user's umask lets them: records are made to be shared, and what looks like a secret
    is withheld from them when the environment is captured.
    """
    new = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with new.open("x", encoding="utf-8") as file:  # a new file, whatever else lies there
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from error
    sync_folder(path.parent)


def append_line(path: Path, line: bytes) -> None:
    """Append one line; begin a new one if the last was torn; leave the file as it was if that fails."""
    with path.open("a+b", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        if size:
            file.seek(-1, os.SEEK_END)
        rest = memoryview((b"\n" if size and file.read(1) != b"\n" else b"") + line + b"\n")
        try:
            while rest:
                rest = rest[file.write(rest) :]
            os.fsync(file.fileno())
        except OSError:
            file.truncate(size)
            raise


def sync_folder(path: Path) -> None:
    """Bring a folder's entries to the disk. Some file systems, such as CIFS, cannot: that is no error."""
    if os.name != "posix":
        return  # other systems cannot open a folder, and keep its entries themselves
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    except OSError as error:
        if error.errno not in (errno.EBADF, errno.EINVAL):  # as PostgreSQL has it (fd.c, fsync_fname_ext)
            raise
    finally:
        os.close(folder)


def source_names(paths: Iterable[Path]) -> dict[Path, str]:
    """The name in `source/` of a run for each of several files, by their paths as they were given.

    It is the file's own name. Where that is the name of another one too, in capitals or not, the folders come first:
    `a_train.py` and `b_train.py`; and where that name is taken, a hash of the path.
    """
    names = {path: path.name for path in paths}
    for rename in (_with_folders, _with_hash):
        times = Counter(name.casefold() for name in (*names.values(), UNCOMMITTED))
        names = {path: rename(path) if times[name.casefold()] > 1 else name for path, name in names.items()}
    return names


def _with_folders(path: Path) -> str:
    return re.sub(r"[^A-Za-z0-9._+-]", "_", path.as_posix().lstrip("./"))[-LONGEST_NAME:]


def _with_hash(path: Path) -> str:
    return f"{hashlib.sha256(os.fsencode(path.as_posix())).hexdigest()[:8]}_{_with_folders(path)}"


def write_sources(run: Path, texts: Mapping[str, str]) -> None:
    """Write the texts that were trained, by file name, into `source/` of a run's directory."""
    for name, text in texts.items():
        (run / "source").mkdir(exist_ok=True)
        (run / "source" / name).write_text(text, encoding="utf-8", errors="surrogateescape")


def read_sources(run: Path) -> dict[str, str]:
    """The texts in `source/` of a run's directory, by file name. Bytes that are no UTF-8 stay as they are."""
    paths = run.glob("source/*")
    return {path.name: path.read_text(encoding="utf-8", errors="surrogateescape") for path in paths}
