"""Downloads: mirrors in order, resumed where they broke off, checked, unpacked, by one process of a host at a time.

torchvision's own downloader knows one address per file, starts anew after a break and writes under the final name.
"""

import errno
import hashlib
import shutil
import sys
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from pipelines.data.files import DataError, damaged, unusable

if TYPE_CHECKING:  # rich is imported when there is something to download
    from rich.progress import Progress

TIMEOUT_SECONDS = 30.0
CHUNK_BYTES = 2**18
FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Archive:
    """A file to download. Paths are relative to the data folder."""

    path: str
    """where it is kept"""
    md5: str
    """its checksum"""
    urls: tuple[str, ...]
    """where it is to be had, the best first"""
    members: tuple[str, ...] = ()
    """files to unpack from it (a tar), by the names that they have in it; none: it is used as it is"""


@contextmanager
def alone(folder: Path, name: str) -> Iterator[None]:
    """Make `folder` and hold the lock of the data set `name` in it; waits for the process that has it."""
    from filelock import FileLock, Timeout

    lock = FileLock(folder / f".{name}.lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            print(f"waiting for another process that downloads {name} to {folder}", file=sys.stderr)
            lock.acquire()
    except OSError as error:
        raise unusable(folder, error) from error
    try:
        yield
    finally:
        lock.release()


def obtain(archives: Iterable[Archive], folder: Path) -> None:
    """Download and unpack archives that are not in `folder` yet. Raises DataError when a file is not to be had."""
    for archive in archives:
        path = fetch(archive, folder)
        if archive.members:
            unpack(path, archive.members, folder)


def fetch(archive: Archive, folder: Path) -> Path:
    """Where the archive is, downloaded unless a file with the right checksum is there; another one is replaced.

    What arrived of a broken download stays in `<name>.part`, and the next mirror, or the next call, goes on from there.
    Raises DataError with every mirror's failure if all of them failed, and at once where the disk is full.
    """
    path = folder / archive.path
    try:
        if path.exists() and _md5(path) == archive.md5:
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unusable(path, error) from error
    part = path.with_name(f"{path.name}.part")
    failures = []
    for url in archive.urls:
        try:
            _complete(part, url, archive.md5)
            return part.replace(path)
        except (OSError, HTTPException) as error:
            if isinstance(error, OSError) and error.errno in FULL:
                raise unusable(part, error) from error
            reason = error.reason if type(error) is URLError else error
            failures.append(f"{url} ({reason or type(error).__name__})")
    raise DataError(
        f"{path.name} could not be downloaded: {'; '.join(failures)}; "
        f"check the network and try again, or get it elsewhere (MD5 {archive.md5}) and put it at {path}"
    )


def unpack(path: Path, members: Iterable[str], folder: Path) -> None:
    """Write the named members of a tar under `folder`, each complete or not at all; nothing else of it is used.

    Raises DataError for a broken tar and for a member that is missing or not a plain file.
    """
    wanted = set(members)
    try:
        with tarfile.open(path, "r|*") as tar:
            for member in tar:
                if member.name in wanted and member.isreg() and (content := tar.extractfile(member)):
                    target = folder / member.name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    part = target.with_name(f"{target.name}.part")
                    with part.open("wb") as file:
                        shutil.copyfileobj(content, file)
                    part.replace(target)
                    wanted.remove(member.name)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise damaged(path, f"cannot be unpacked ({error})") from error
    except OSError as error:
        raise unusable(path, error) from error
    if wanted:
        raise damaged(path, f"there is no file {', '.join(sorted(wanted))} in it")


def _complete(part: Path, url: str, md5: str) -> None:
    """Download to `part`, or the rest of what is there. Raises OSError or HTTPException if it cannot be completed."""
    if part.exists():
        _transfer(url, part)
        if _md5(part) == md5:
            return
        part.unlink()  # what was there began some other file
    _transfer(url, part)
    found = _md5(part)
    if found != md5:
        part.unlink()
        raise OSError(f"MD5 {found}, expected {md5}")


def _transfer(url: str, part: Path) -> None:
    """Append to `part` what is missing, or write it anew if the server sends everything."""
    have = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "paceline"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        response = urlopen(Request(url, headers=headers), timeout=TIMEOUT_SECONDS)  # noqa: S310  (addresses of ours)
    except HTTPError as error:
        with error:
            if have and error.code == 416:  # nothing comes after `have`
                return
            raise
    with response:
        if response.status != 206:
            have = 0
        elif not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            raise OSError(f"asked for the bytes from {have}, it sends {response.headers.get('Content-Range')}")
        total = None if response.length is None else have + response.length
        with part.open("ab" if have else "wb") as file, _progress() as progress:
            task = progress.add_task(part.stem, completed=have, total=total)
            while chunk := response.read(CHUNK_BYTES):
                file.write(chunk)
                progress.advance(task, len(chunk))
    if total is not None and part.stat().st_size < total:
        raise OSError(f"the connection broke off after {part.stat().st_size:,} of {total:,} bytes")


def _progress() -> "Progress":
    """A bar with speed and time left on stderr, nothing at all if that is not a terminal."""
    from rich import progress
    from rich.console import Console

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.DownloadColumn(),
        progress.TransferSpeedColumn(),
        progress.TimeRemainingColumn(),
    )
    return progress.Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty())


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
