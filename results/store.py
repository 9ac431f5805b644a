"""Runs on disk: one directory a run, `run.json` for the run and `trials.jsonl` with one line a trial.

`run.json` is replaced as a whole or not at all. A trial is on the disk before `append` returns, so that a crash loses
at most the trial in progress; what a crash tore is skipped by the reader with a warning and never touched by the
writer.
"""

import contextlib
import gc
import glob
import re
import reprlib
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pydantic
import pydantic_core

from results import lock
from results.files import append_line, sync_folder, write_atomically
from results.record import SCHEMA_VERSION, Run, RunRecord, Status, TrialRecord
from results.upgrades import UPGRADES
from results.writer import is_gone

if TYPE_CHECKING:
    from filelock import BaseFileLock

RECORD, TRIALS = "run.json", "trials.jsonl"
T = TypeVar("T")

GONE = "its process is gone: it was killed, or the machine went down"
"""why a run ended whose process could not say so"""
SAME_ON_RESUME = ("recipe_hash", "world_size", "smoke_test", "commit", "dirty")
SAME_ENVIRONMENT = (
    *("code", "machine_id", "machine_class", "machine", "cpu"),
    *("threads", "scheduling", "versions", "strategy"),
)
"""What must not change between the trials of one run."""
DIFFER_BETWEEN_HOSTS = {"machine_id"}
"""what of it may differ between the hosts of one run"""


class RunDirectory:
    """A run that is being written, by one process alone until it ends. Made by `create` or `resume`."""

    def __init__(self, path: Path, record: RunRecord, done: set[int], held: "BaseFileLock") -> None:
        self.path = path
        self.record = record
        self._done = done
        self._lock = held

    @property
    def missing_seeds(self) -> list[int]:
        """The seeds that have no trial yet, in their order."""
        return [seed for seed in self.record.seeds if seed not in self._done]

    def append(self, trial: TrialRecord) -> None:
        """Write a trial to the disk.

        ValueError for a trial that cannot be of this run; OSError if it cannot be written, with the earlier trials
        intact and its seed still missing.
        """
        self.record.check(trial)
        if trial.seed in self._done:
            raise ValueError(f"{self.path}: seed={trial.seed} has its trial already")
        path = self.path / TRIALS
        try:
            append_line(path, trial.model_dump_json().encode())
        except OSError as error:
            raise OSError(
                error.errno,
                f"the trial of seed={trial.seed} could not be written ({error.strerror}); the trials before it are "
                "kept: make room and resume the run",
                str(path),
            ) from error
        self._done.add(trial.seed)

    def finish(self, status: Status, reason: str | None = None, environment: dict[str, Any] | None = None) -> None:
        """Write how the run ended, and what is to be added to its environment (telemetry after the run).

        Another process may resume it from then on.
        """
        assert status != "running"
        assert status != "finished" or not self.missing_seeds, self.missing_seeds
        self._write(status=status, reason=reason, environment=self._added(environment or {}))
        lock.release(self.path, self._lock)

    def stop(self) -> None:
        """Ask for no more trials than there are, because they decided what was to be decided."""
        self._write(seeds=[seed for seed in self.record.seeds if seed in self._done])

    def note(self, environment: dict[str, Any]) -> None:
        """Add to the environment what was found out during the run."""
        self._write(environment=self._added(environment))

    def _added(self, environment: dict[str, Any]) -> dict[str, Any]:
        return self.record.environment.model_dump(mode="json") | environment

    def _write(self, **changes: Any) -> None:
        self.record = RunRecord.model_validate(self.record.model_dump() | changes)
        write_atomically(self.path / RECORD, self.record.model_dump_json(indent=2) + "\n")


def create(root: Path, record: RunRecord) -> RunDirectory:
    """A new directory `<UTC time>_<recipe>_<id>` under `root`, which is made if it is missing.

    ValueError for a recipe name that leads out of `root`; FileExistsError if there is such a run; OSError, which leaves
    no directory, if the record cannot be written.
    """
    assert record.status == "running"
    root = Path(root)
    path = root / f"{record.created:%Y%m%dT%H%M%SZ}_{_file_name(record.recipe_name)}_{record.id}"
    path.mkdir(parents=True)
    with contextlib.ExitStack() as undo:  # a directory without a record would be no run
        undo.callback(shutil.rmtree, path, ignore_errors=True)
        held = lock.acquire(path)
        undo.callback(lock.release, path, held)
        run = RunDirectory(path, record, set(), held)
        (path / TRIALS).touch()
        run._write()
        undo.pop_all()
    sync_folder(root)
    return run


def resume(path: Path, record: RunRecord) -> RunDirectory:
    """Go on with the seeds that a run misses.

    `record` is what a new run would have been given now: ValueError where recipe, code, machine or world size are no
    longer those of the run, or its data are others, because then it would not be one run; and where another process
    writes the run. The run keeps its own id and environment, and its seeds, to which those of `record` that follow them
    are added. A run whose other side is not resumed with it is no longer interleaved.
    """
    path = Path(path)
    path = path.parent if path.name == RECORD else path
    read_record(path)
    held = lock.acquire(path)
    try:
        return _resume(path, record, held)
    except BaseException:
        lock.release(path, held)
        raise


def _resume(path: Path, record: RunRecord, held: "BaseFileLock") -> RunDirectory:
    run = read(path)
    if _load_record(run.path).get("schema_version") != SCHEMA_VERSION:
        raise ValueError(f"{run.path}: was written by an older Paceline, which can be read but not resumed: start anew")
    interleaved = run.record.interleaved if run.record.interleaved == record.interleaved else None
    for key, (then, now) in differences(run.record, record).items():
        raise ValueError(
            f"{run.path}: cannot be resumed: {key} was {then!r} and is {now!r} now; undo that or start anew"
        )
    seeds = run.record.seeds
    if record.seeds[: len(seeds)] == seeds:
        seeds = record.seeds
    resumed = RunDirectory(run.path, run.record, {trial.seed for trial in run.trials}, held)
    resumed._write(status="running", reason=None, interleaved=interleaved, writer=record.writer, seeds=seeds)
    return resumed


def differences(one: RunRecord, other: RunRecord) -> dict[str, tuple[object, object]]:
    """What keeps the trials of two records from being one run, by name."""
    pairs = {key: (getattr(one, key), getattr(other, key)) for key in SAME_ON_RESUME}
    captured = one.environment, other.environment
    pairs |= {key: tuple(getattr(each, key) for each in captured) for key in SAME_ENVIRONMENT}
    if one.data and other.data:
        pairs["data"] = (one.data.digest, other.data.digest)
    return {key: _unlike(first, second) for key, (first, second) in pairs.items() if first != second}


def _unlike(one: object, other: object) -> tuple[object, object]:
    """Two values without what they have in common: of objects the fields that differ, of lists the items that only one
    has."""
    first, second = (dict(each) if isinstance(each, pydantic.BaseModel | dict) else each for each in (one, other))
    if isinstance(first, dict) and isinstance(second, dict):
        names = [name for name in first | second if first.get(name) != second.get(name)]
        pairs = {name: _unlike(first.get(name), second.get(name)) for name in names}
        return {name: before for name, (before, _) in pairs.items()}, {name: now for name, (_, now) in pairs.items()}
    if isinstance(first, list) and isinstance(second, list) and set(map(str, first)) != set(map(str, second)):
        return [each for each in first if each not in second], [each for each in second if each not in first]
    return one, other


def read(path: str | Path) -> Run:
    """A run from its directory or its `run.json`. Damaged lines are skipped; `warnings` names them.

    Of two trials of one seed the first counts. ValueError where there is no run, its files may not be read, its
    `run.json` is damaged or newer than this Paceline, or a line is whole but says what cannot be: a negative lap, laps
    longer than the total, an accuracy outside [0, 1].
    """
    path = Path(path)
    path = path.parent if path.name == RECORD else path
    record = read_record(path)
    warnings: list[str] = []
    trials = tuple(_read_trials(path / TRIALS, record, warnings))
    return Run(record, trials, path, tuple(warnings))


def read_record(path: str | Path) -> RunRecord:
    """A run's record alone. Raises as `read` does."""
    path = Path(path)
    path = path.parent if path.name == RECORD else path
    loaded = _upgraded(path, _load_record(path))
    try:
        record = RunRecord.model_validate(loaded | {"schema_version": SCHEMA_VERSION})
    except pydantic_core.ValidationError as error:
        raise ValueError(f"{path / RECORD}: {_first(error)}") from error
    if record.status == "running" and record.writer and is_gone(record.writer):
        return record.model_copy(update={"status": "interrupted", "reason": GONE})
    return record


Skip = Callable[[str], None]
"""Told, in one line, of a run that cannot be read and is left out."""


def find(places: Sequence[str | Path], skip: Skip | None = None) -> list[Run]:
    """Every run at `places`: run directories, folders of them, or globs of either. Once each, the oldest first; a copy
    of a run is no other run.

    `skip`: called with a message for a run that cannot be read. Without it, and where such a run is itself one of
    `places`, raises as `read` does. ValueError for a place where there is no run.
    """
    paths = locate(places)
    with no_collector():
        runs = without_unreadable(paths, (attempt(read, path) for path in paths), places, skip)
    return sorted(runs, key=lambda run: run.record.created)


def runs_in(folder: Path, skip: Skip | None = None) -> list[Run]:
    """As `find`, of a folder that may have no run, or not be there."""
    return find([folder], skip) if any(folder.glob(f"*/{RECORD}")) else []


def attempt(reader: Callable[[Path], T], path: Path) -> T | ValueError:
    """What `reader` makes of a run, or why it cannot."""
    try:
        return reader(path)
    except ValueError as error:
        return error


def without_unreadable(
    paths: Iterable[Path], found: Iterable[T | ValueError], places: Iterable[str | Path], skip: Skip | None
) -> list[T]:
    """What was made of the runs that could be read. `skip`: as in `find`."""
    named = {Path(place).resolve() for place in places}
    made = []
    for path, one in zip(paths, found, strict=True):
        if not isinstance(one, ValueError):
            made.append(one)
        elif skip is None or {path.resolve(), path.parent.resolve()} & named:
            raise one
        else:
            skip(f"{one}: the run is left out")
    return made


class Unread(Sequence[TrialRecord]):
    """The trials of a run, read from disk at each access. Their number is known without reading them."""

    def __init__(self, path: Path, count: int) -> None:
        self._path = path
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[TrialRecord]:
        return iter(read(self._path).trials)

    def __getitem__(self, index: Any) -> Any:
        return read(self._path).trials[index]


def locate(places: Iterable[str | Path]) -> list[Path]:
    """The `run.json` of every run at `places`, as `find` says, without reading its trials."""
    found: dict[Path, Path] = {}
    for place in places:
        matches = [place] if Path(place).exists() else glob.glob(str(place))  # noqa: PTH207  a glob may be absolute
        records = [record for match in matches for record in _records_at(Path(match))]
        if not records:
            raise ValueError(f"{place}: no run there; a run is a directory with a file {RECORD}")
        found |= {record.resolve(): record for record in records}
    return _without_copies(sorted(found.values(), key=lambda record: (record.parent.name, record)))


def _without_copies(records: Iterable[Path]) -> list[Path]:
    """One `run.json` of each run. Of copies that with the most trials: another may have been made before they ended."""
    fullest: dict[object, Path] = {}
    for record in records:
        run = _identity(record)
        other = fullest.get(run)
        if other is None or _size(record.with_name(TRIALS)) > _size(other.with_name(TRIALS)):
            fullest[run] = record
    return list(fullest.values())


def _identity(record: Path) -> object:
    """What a run shares with its copies alone; of a record that cannot be read, its path."""
    try:
        loaded = _load_record(record.parent)
    except ValueError:
        return record
    parts = tuple(loaded.get(key) for key in ("id", "created", "recipe_name"))
    return parts if all(isinstance(part, str) for part in parts) else record


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def with_scalings(places: Iterable[str | Path]) -> list[str | Path]:
    """The places, and the folders of `bench/scale.py` in them that have runs; a place with such a folder need have no
    other run."""
    found: list[str | Path] = []
    for place in places:
        folders = [folder for folder in sorted(Path(place).glob("scaling*")) if _records_at(folder)]
        found += folders if folders and not _records_at(Path(place)) else [place, *folders]
    return found


@contextlib.contextmanager
def no_collector() -> Iterator[None]:
    """Switch the garbage collector off while many records are read: they contain no cycles."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _file_name(recipe_name: str) -> str:
    parts = re.split(r"[/\\]", recipe_name)
    if ".." in parts or "" in parts:
        raise ValueError(f"recipe_name={recipe_name!r} cannot name a run directory: leave out '..' and the root")
    return re.sub(r"[^A-Za-z0-9._+-]", "_", "-".join(parts))[:100]


def _records_at(path: Path) -> list[Path]:
    if path.name == RECORD or (path / RECORD).exists():
        return [path if path.name == RECORD else path / RECORD]
    return list(path.glob(f"*/{RECORD}")) if path.is_dir() else []


def _load_record(path: Path) -> dict[str, Any]:
    try:
        content = _bytes(path / RECORD)
    except FileNotFoundError:
        raise ValueError(f"{path}: no run there; a run is a directory with a file {RECORD}") from None
    try:
        loaded = pydantic_core.from_json(content)
    except ValueError as error:
        raise ValueError(f"{path / RECORD} is damaged: {error}") from error
    if not isinstance(loaded, dict):
        raise ValueError(f"{path / RECORD} is damaged: it holds no object")
    return loaded


def _bytes(path: Path) -> bytes:
    """What is in a file. FileNotFoundError where there is none, ValueError where it cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from error


def _upgraded(path: Path, loaded: dict[str, Any]) -> dict[str, Any]:
    version = loaded.get("schema_version")
    if not isinstance(version, int) or isinstance(version, bool):
        raise ValueError(f"{path / RECORD}: schema_version={version!r} is not a version")
    if version > SCHEMA_VERSION:
        raise ValueError(
            f"{path / RECORD}: schema_version={version} is newer than {SCHEMA_VERSION}, the last that this Paceline "
            "knows: read it with a newer Paceline"
        )
    steps = range(version, SCHEMA_VERSION)
    if any(step not in UPGRADES for step in steps):
        raise ValueError(f"{path / RECORD}: schema_version={version} was never written by Paceline")
    for step in steps:
        loaded = UPGRADES[step](loaded)
    return loaded


def _read_trials(path: Path, record: RunRecord, warnings: list[str]) -> Iterator[TrialRecord]:
    """The trials in the file; appends to `warnings` for every line that is none."""
    try:
        content = _bytes(path)
    except FileNotFoundError:
        warnings.append(f"{path} is missing")
        return
    first: dict[int, tuple[int, TrialRecord]] = {}
    for number, line in enumerate(content.split(b"\n"), start=1):
        if not line:
            continue
        try:
            trial = TrialRecord.model_validate_json(line)
        except pydantic_core.ValidationError as error:
            if _is_impossible(error):
                raise ValueError(f"{path}:{number}: is impossible: {_first(error)}") from error
            warnings.append(f"{path}:{number}: skipped a damaged line: {_first(error)}")
            continue
        try:
            record.check(trial)
        except ValueError as error:
            raise ValueError(f"{path}:{number}: is impossible: {error}") from error
        if trial.seed in first:
            same = "equal to" if trial == first[trial.seed][1] else "which differs from"
            warnings.append(
                f"{path}:{number}: left out a second trial of seed={trial.seed}, {same} that of line "
                f"{first[trial.seed][0]}: two processes wrote this run"
            )
            continue
        first[trial.seed] = number, trial
        yield trial


def _is_impossible(error: pydantic_core.ValidationError) -> bool:
    """Whether a line has the form of a trial, and only its values are wrong."""
    kinds = {what["type"] for what in error.errors()}
    return kinds <= {"value_error", "greater_than_equal", "less_than_equal", "finite_number"}


def _first(error: pydantic_core.ValidationError) -> str:
    """The first thing that is wrong, in one line."""
    what = error.errors(include_url=False)[0]
    value = f"={reprlib.repr(what['input'])}" if isinstance(what["input"], int | float) else ""
    said = what["msg"].removeprefix("Value error, ")
    return f"{'.'.join(map(str, what['loc']))}{value}: {said}".removeprefix(": ")
