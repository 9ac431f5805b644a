"""What was worked out from runs, kept beside them, so that thousands of runs need not be parsed again.

One SQLite file in each folder of runs. It is never the truth: an entry counts only while the run's files and
Paceline's own sources are those that it was made from, and where the file cannot be read or written, runs are read.
"""

import contextlib
import gc
import hashlib
import math
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from itertools import groupby
from multiprocessing import get_context
from operator import attrgetter
from pathlib import Path

from results.store import RECORD, TRIALS, attempt, no_collector

NAME = ".paceline-cache.sqlite"
KEEP_FROM = 16 * 2**20
"""bytes of trials under which parsing takes less than a second, and nothing is kept"""
MANY = 200
"""runs from which a second process pays"""


class Passing(bytes):
    """What is not kept, because it may change though the run's files do not."""


Made = bytes | ValueError
Make = Callable[[Path], bytes]


def derived(paths: Sequence[Path], kind: str, make: Make, workers: int = 1) -> list[Made]:
    """`make(path)` of each `run.json`, in their order; of a run that it cannot be made of, the ValueError.

    kind: names what `make` returns. workers: processes that share the runs of which nothing is kept.
    """
    stamps = {path: stamp for path in paths if (stamp := _stamp(path)) is not None}
    if sum(size for size, _ in stamps.values()) < KEEP_FROM:
        return _make_all(paths, make, workers)
    found: dict[Path, Made] = {}
    by_folder = attrgetter("parent.parent")
    for folder, members in groupby(sorted(paths, key=by_folder), key=by_folder):
        found |= _of_folder(folder, list(members), kind, make, workers, stamps)
    return [found[path] for path in paths]


def _of_folder(
    folder: Path, paths: list[Path], kind: str, make: Make, workers: int, stamps: dict[Path, tuple[int, str]]
) -> dict[Path, Made]:
    kept = _load(folder / NAME, kind)
    found: dict[Path, Made] = {}
    for path in paths:
        stamp, value = kept.get(path.parent.name, ("", b""))
        if path in stamps and stamps[path][1] == stamp:
            found[path] = value
    missing = [path for path in paths if path not in found]
    made = dict(zip(missing, _make_all(missing, make, workers), strict=True))
    new = [
        (path.parent.name, kind, stamps[path][1], value)
        for path, value in made.items()
        if isinstance(value, bytes) and not isinstance(value, Passing) and path in stamps
    ]
    if new:
        _save(folder / NAME, new)
    return found | made


def _stamp(path: Path) -> tuple[int, str] | None:
    """The size of a run's trials, and what changes when one of its files or Paceline does."""
    try:
        files = [path.stat(), path.with_name(TRIALS).stat()]
    except OSError:
        return None
    seen = [(file.st_ino, file.st_size, file.st_mtime_ns) for file in files]
    return files[1].st_size, f"{_sources()} {seen}"


@cache
def _sources() -> str:
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _load(file: Path, kind: str) -> dict[str, tuple[str, bytes]]:
    """Stamp and value by the name of the run's directory."""
    if not file.exists():
        return {}
    with contextlib.suppress(sqlite3.Error), _open(file) as base:
        rows = base.execute("SELECT run, stamp, value FROM derived WHERE kind = ?", (kind,))
        return {run: (stamp, value) for run, stamp, value in rows}
    return {}


def _save(file: Path, rows: list[tuple[str, str, str, bytes]]) -> None:
    """Add the rows, and drop those of runs that are gone. A file that is no database is begun anew."""
    try:
        _write(file, rows)
    except sqlite3.OperationalError:  # locked, a read-only folder, a full disk
        return
    except sqlite3.DatabaseError:
        with contextlib.suppress(OSError, sqlite3.Error):
            file.unlink()
            _write(file, rows)


def _write(file: Path, rows: list[tuple[str, str, str, bytes]]) -> None:
    with _open(file) as base, base:
        base.execute(
            "CREATE TABLE IF NOT EXISTS derived (run TEXT, kind TEXT, stamp TEXT, value BLOB, PRIMARY KEY (run, kind))"
        )
        base.executemany("INSERT OR REPLACE INTO derived VALUES (?, ?, ?, ?)", rows)
        known = {run for (run,) in base.execute("SELECT DISTINCT run FROM derived")}
        gone = known - {path.parent.name for path in file.parent.glob(f"*/{RECORD}")}
        base.executemany("DELETE FROM derived WHERE run = ?", [(run,) for run in gone])


def _open(file: Path) -> contextlib.closing[sqlite3.Connection]:
    return contextlib.closing(sqlite3.connect(file, timeout=1))


def _make_all(paths: Sequence[Path], make: Make, workers: int) -> list[Made]:
    if workers < 2 or len(paths) < MANY:
        with no_collector():
            return [attempt(make, path) for path in paths]
    share = math.ceil(len(paths) / (4 * workers))  # some for each worker, because runs differ in length
    with ProcessPoolExecutor(workers, get_context("fork"), initializer=gc.disable) as pool:
        return list(pool.map(partial(attempt, make), paths, chunksize=share))
