"""What a comparison needs of a run: its samples under one protocol, and what must be equal for them to compare.

Runs are read one after the other and only their samples are kept, so that a thousand of them fit and are read fast.
"""

import json
import subprocess
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from results import store
from results.environment import known
from results.format import target
from results.literature import Published, published
from results.metrics import DEFAULT, find_metric
from results.protocols import find_protocol
from results.record import Run, RunRecord

MEASURED = Path(__file__).parent / "measured"
PUBLISHED = "published"
MANY = 200
"""runs from which a second process pays"""

FACTS = ("recipe", "data", "target", "clock", "machine", "world", "protocol", "smoke test")
"""What must be the same on both sides of a comparison."""

CLOCKS = {"": "Paceline's laps", "author": "the author's laps", "command": "the whole command"}
"""who says where the laps of a run begin and end, by the recipe's option `clock`"""


@dataclass(frozen=True)
class Samples:
    """One run, or one published figure."""

    recipe: str
    origin: str
    """where it comes from: the run's directory, or the source of the figure"""
    facts: Mapping[str, str]
    """of `FACTS`, those that are known"""
    notes: Mapping[str, str]
    """what may differ, but a reader wants to know: commit, versions"""
    options: Mapping[str, Any]
    """the resolved recipe"""
    target: float | None
    seeds: tuple[int, ...]
    """of the trials, in their order"""
    values: Mapping[str, tuple[float | None, ...]]
    """by metric, one value a trial, None where a trial has none"""
    reached: int
    unfinished: int = 0
    """trials that diverged or failed"""
    interleaved: str | None = None
    """shared by runs whose trials were interleaved"""
    published: Published | None = None
    is_benchmark: bool = False
    """a time alone, with no training behind it"""
    warnings: tuple[str, ...] = ()


def of_run(run: Run, protocol: str, metrics: Iterable[str] = DEFAULT) -> Samples:
    """The samples of a run. ValueError for an unknown protocol or metric."""
    find_protocol(protocol)
    record = run.record
    versions = {name: version for name, version in record.environment.versions.items() if known(version) is not None}
    return Samples(
        recipe=record.recipe_name,
        origin=str(run.path),
        facts={
            "recipe": record.recipe_hash,
            "data": data_of(record),
            "target": "unknown" if run.target is None else target(run.target),
            "clock": CLOCKS.get(str(record.recipe.get("clock")), CLOCKS[""]),
            "machine": known(record.environment.machine_class) or "unknown",
            "world": str(record.world_size),
            "protocol": protocol,
            "smoke test": "yes" if record.smoke_test else "no",
        },
        notes={
            "commit": (record.commit or "unknown")[:12] + (" with changes" if record.dirty else ""),
            **{name: str(version) for name, version in versions.items()},
        },
        options=record.recipe,
        target=run.target,
        seeds=tuple(trial.seed for trial in run.trials),
        values={name: tuple(find_metric(name).samples(run, protocol)) for name in {*DEFAULT, *metrics}},
        reached=len(run.reached),
        unfinished=sum(trial.outcome in ("diverged", "failed") for trial in run.trials),
        interleaved=record.interleaved,
        warnings=run.warnings,
    )


def data_of(record: RunRecord) -> str:
    """What a run was trained on, in words that are the same for the same data."""
    data = record.recipe.get("data")
    if not isinstance(data, dict):
        return json.dumps(data)
    known = {key: value for key, value in data.items() if value is not None and key != "path"}
    if data.get("path") and record.data:  # of the user's own: by content, wherever they are
        known["images"] = f"{record.data.train_images[:8]} {record.data.test_images[:8]}"
    return json.dumps(known, sort_keys=True)


def of_figure(figure: Published) -> Samples:
    """A published figure, which has no samples, so that nothing is known of its spread."""
    facts = {"machine": figure.hardware, "protocol": figure.protocol or "the source's own clock"}
    return Samples(figure.recipe, figure.source, facts, {}, {}, None, (), {}, 0, published=figure)


def resolve(
    word: str,
    protocol: str,
    roots: Sequence[Path] = (Path("runs"), MEASURED),
    workers: int = 1,
    metrics: Collection[str] = DEFAULT,
) -> list[Samples]:
    """One side of a comparison, with the samples of these metrics.

    `word` is a run's directory, a folder of runs, a glob, `published` (every figure), `published:RECIPE`, or the name
    of a recipe with or without `@COMMIT`: all its runs under `roots`, at that commit. ValueError where there is none.
    """
    find_protocol(protocol)
    kind, colon, name = word.partition(":")
    if kind == PUBLISHED and not Path(word).exists():
        figures = published()
        if colon and name not in figures:
            raise ValueError(f"{word}: there is no published figure of {name!r}; there are: {', '.join(figures)}")
        return [of_figure(figure) for figure in figures.values() if not colon or figure.recipe == name]
    if Path(word).exists() or any(character in word for character in "*?["):
        return _read(store.locate([word]), protocol, workers, metrics)
    recipe, _, commit = word.partition("@")
    places = [root for root in roots if any(root.glob(f"*/{store.RECORD}"))]
    found = store.locate(places) if places else []
    found = [path for path in found if _is_of(path, recipe, commit and _full_hash(commit))]
    if not found:
        where = " and ".join(map(str, roots))
        raise ValueError(
            f"{word}: neither a run, nor a folder or glob of runs, nor a recipe with runs under {where}"
            + (f" at commit {commit}" if commit else "")
        )
    return _read(found, protocol, workers, metrics)


def _is_of(path: Path, recipe: str, commit: str) -> bool:
    record = store.read_record(path)
    return record.recipe_name == recipe and not record.smoke_test and (record.commit or "").startswith(commit)


def _full_hash(commit: str) -> str:
    """A commit's hash from any name that git has for it; a hash that git does not know, as it is."""
    command = ["git", "rev-parse", "--verify", "--quiet", "--end-of-options", f"{commit}^{{commit}}"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  no shell
    except FileNotFoundError:
        return commit
    return found.stdout.strip() or commit


def _read(paths: Sequence[Path], protocol: str, workers: int, metrics: Collection[str]) -> list[Samples]:
    one = partial(_read_one, protocol=protocol, metrics=metrics)
    if workers < 2 or len(paths) < MANY:
        return _all(one, paths)
    chunks = [paths[start::workers] for start in range(workers)]
    with ProcessPoolExecutor(workers, get_context("fork")) as pool:
        parts = list(pool.map(partial(_all, one), chunks))
    return [parts[index % workers][index // workers] for index in range(len(paths))]


def _all(one: Callable[[Path], Samples], paths: Iterable[Path]) -> list[Samples]:
    with store.no_collector():
        return [one(path) for path in paths]


def _read_one(path: Path, protocol: str, metrics: Collection[str]) -> Samples:
    return of_run(store.read(path), protocol, metrics)
