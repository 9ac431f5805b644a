"""What a comparison needs of a run: its samples under one protocol, and what must be equal for them to compare.

Runs are read one after the other and only their samples are kept, in memory and in `results.cache`.
"""

import json
import re
import subprocess
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import pydantic_core

from results import cache, marks, store
from results.environment import Environment, Unknown, known
from results.format import printable, target
from results.literature import Published, published
from results.metrics import DEFAULT, METRICS, find_metric
from results.protocols import DEFAULT as DEFAULT_PROTOCOL
from results.protocols import PROTOCOLS, RENAMED, find_protocol
from results.record import Run, RunRecord, TrialRecord
from results.sequential import Planned

MEASURED = Path(__file__).parent / "measured"
PUBLISHED = "published"
DATA_HASH = "data hash"
"""The fact that stands for `data` where both sides have it: the images and labels themselves, whatever their name."""

CLOCKS = {"": "Paceline's laps", "author": "the author's laps", "command": "the whole command"}
"""who says where the laps of a run begin and end, by the recipe's option `clock`"""
NOT_SETTINGS = re.compile(r"(^|_)(RANK|WORLD_SIZE|CACHE_DIR)$")
"""environment variables that explain no change: the number of processes is a fact, and torch itself names its caches"""


@dataclass(frozen=True)
class Samples:
    """One run, or one published figure."""

    recipe: str
    origin: str
    """where it comes from: the run's directory, or the source of the figure"""
    facts: Mapping[str, str]
    """of `results.facts.FACTS`, those that are known"""
    notes: Mapping[str, str]
    """what may differ, but a reader wants to know: commit, versions, driver; what is not known is left out"""
    options: Mapping[str, Any]
    """the resolved recipe"""
    target: float | None
    """None where the recipe has none, and before the first trial has ended"""
    seeds: tuple[int, ...]
    """of the trials, in their order"""
    values: Mapping[str, tuple[float | None, ...]]
    """by metric, one value a trial, None where a trial has none"""
    reached: int
    unfinished: int = 0
    """trials that diverged or failed"""
    interleaved: str | None = None
    """shared by runs whose trials were interleaved"""
    looks: tuple[int, ...] = ()
    """trials at each planned look, of a run that was trained until decided"""
    started: tuple[float | None, ...] = ()
    """when each trial began, in seconds since 1970; None where it is not known"""
    marks: Mapping[str, int] = field(default_factory=dict)
    """trials by the names of their marks, of `results.marks`"""
    hosts: tuple[str | None, ...] = ()
    """where each trial was trained; None where it is not known"""
    variables: Mapping[str, str] | None = None
    """the environment variables that were set, of those that records keep; None where they were not kept"""
    laps: Mapping[str, Mapping[str, Sequence[float]]] = field(default_factory=dict)
    """by metric that is made up of laps and by lap, the seconds of each trial; 0 where a trial has no such lap"""
    discarded: int = 0
    """trials that were left out"""
    published: Published | None = None
    has_no_target: bool = False
    """the recipe asks for no accuracy"""
    is_benchmark: bool = False
    """a time alone, with no training behind it"""
    warnings: tuple[str, ...] = ()

    @property
    def plan(self) -> Planned | None:
        """The looks of its plan, and the trials that there were at the end of the training."""
        return (self.looks, len(self.seeds) + self.discarded) if self.looks else None

    @property
    def is_empty(self) -> bool:
        """Whether it is a run of which no trial has ended."""
        return not (self.seeds or self.discarded or self.published)

    def trials(self, metric: str) -> list[tuple[int, float | None, str | None]]:
        """Seed, value and host of each."""
        nothing = (None,) * len(self.seeds)
        return list(zip(self.seeds, self.values.get(metric, nothing), self.hosts or nothing, strict=True))


def plans(runs: Iterable[Samples | Run]) -> set[Planned]:
    """Of those of the runs that were trained until decided."""
    return {one.plan for one in runs if one.plan}


def different_seeds(side: Iterable[Samples]) -> int:
    """How many seeds the runs of a side were trained with; one that several have counts once."""
    return len({seed for one in side for seed in one.seeds})


def of_run(run: Run, protocol: str, metrics: Iterable[str] = DEFAULT) -> Samples:
    """The samples of a run. ValueError for an unknown protocol or metric."""
    find_protocol(protocol)
    record, host = run.record, run.record.environment.host
    kernels = _kernels(run.trials)
    return Samples(
        recipe=record.recipe_name,
        origin=str(run.path),
        facts={
            "recipe": record.recipe_hash,
            "data": data_of(record),
            **({} if record.data is None else {DATA_HASH: record.data.digest}),
            "clock": CLOCKS.get(record.options.clock or "", CLOCKS[""]),
            "machine": record.environment.machine or "unknown",
            "world": str(record.world_size),
            "protocol": protocol,
            "smoke test": "yes" if record.smoke_test else "no",
            **_target(run),
            **_host_facts(record.environment),
            **kernels,
        },
        notes={
            **({"commit": record.commit[:12] + _changes(record)} if record.commit else {}),
            **_versions(record.environment),
            **kernels,
        },
        variables=_variables(record.environment),
        options=record.recipe,
        target=run.target,
        seeds=tuple(trial.seed for trial in run.trials),
        values={name: tuple(find_metric(name).samples(run, protocol)) for name in {*DEFAULT, *metrics}},
        laps=_laps(run.trials),
        reached=len(run.reached),
        has_no_target=run.has_no_target,
        unfinished=sum(trial.outcome in ("diverged", "failed") for trial in run.trials),
        interleaved=record.interleaved,
        looks=record.plan.looks if record.plan else (),
        started=tuple(None if trial.started is None else trial.started.timestamp() for trial in run.trials),
        marks=marks.counts(run.trials),
        hosts=tuple(trial.host.hash if trial.host else host for trial in run.trials),
        discarded=len(run.discarded),
        warnings=run.warnings,
    )


def _changes(record: RunRecord) -> str:
    """What the commit does not say of the code."""
    code = known(record.environment.code)
    return f" with changes{f' ({code[:7]})' if code else ''}" if record.dirty else ""


def _versions(environment: Environment) -> dict[str, str]:
    """Of packages, driver and kernel of the operating system, and the power limit of the GPUs."""
    packages = {name: "not installed" if one is None else known(one) for name, one in environment.versions.items()}
    limits = (known(gpu.power_limit_w) for gpu in environment.gpus)
    settings = {
        "driver": [known(gpu.driver) for gpu in environment.gpus],
        "power limit": [limit and f"{limit:g} W" for limit in limits],
        "OS kernel": [known(environment.os.kernel) if environment.os else None],
    }
    joined = {name: " and ".join(sorted({one for one in found if one})) for name, found in settings.items()}
    return {name: str(one) for name, one in (packages | joined).items() if one not in (None, "")}


def _variables(environment: Environment) -> dict[str, str] | None:
    """None where the run did not keep them."""
    if "variables" not in environment.model_fields_set:
        return None
    return {
        name: value.unknown if isinstance(value, Unknown) else str(value)
        for name, value in environment.variables.items()
        if not NOT_SETTINGS.search(name)
    }


def _laps(trials: Sequence[TrialRecord]) -> dict[str, dict[str, list[float]]]:
    found = {}
    for name, metric in METRICS.items():
        if metric.laps:
            seconds = [metric.laps(trial) for trial in trials]
            names = dict.fromkeys(lap for one in seconds for lap in one)
            found[name] = {lap: [one.get(lap, 0.0) for one in seconds] for lap in names}
    return found


def _target(run: Run) -> dict[str, str]:
    """Nothing before the first trial has ended."""
    if run.has_no_target:
        return {"target": "none"}
    return {} if run.target is None else {"target": target(run.target)}


def _host_facts(environment: Environment) -> dict[str, str]:
    """What is known of the threads of a process and of its share of the host."""
    facts = {}
    if environment.threads:
        facts["threads"] = f"{environment.threads.intra_op} a process"
    if environment.scheduling and environment.scheduling.text:
        facts["scheduling"] = environment.scheduling.text
    return facts


def _kernels(trials: Iterable[TrialRecord]) -> dict[str, str]:
    """Which compiled kernels ran in the trials that came to their end. The same recipe runs PyTorch's operations where
    they were not compiled, as before they were: a run may have been resumed after that."""
    whole = [trial.kernels for trial in trials if trial.kernels is not None and trial.came_to_its_end]
    names = sorted({", ".join(kernels) or "PyTorch's" for kernels in whole})
    return {"kernels": " and ".join(names)} if names else {}


def data_of(record: RunRecord) -> str:
    """What a run says that it was trained on. With the path: where a side has no hash of its data, as a function has
    none, that alone tells two folders of images apart."""
    data = record.recipe.get("data")
    if not isinstance(data, dict):
        return json.dumps(data)
    given = {key: value for key, value in data.items() if value is not None}
    return json.dumps(given, sort_keys=True)


def of_figure(figure: Published) -> Samples:
    """A published figure, which has no samples, so that nothing is known of its spread."""
    facts = {
        "machine": figure.hardware,
        "protocol": figure.protocol or "the source's own clock",
        "smoke test": "no",
    }
    return Samples(figure.recipe, figure.source, facts, {}, {}, None, (), {}, 0, published=figure)


def of_runs(
    paths: Sequence[Path], workers: int = 1, discard: Collection[str] = ()
) -> list[dict[str, Samples] | ValueError]:
    """The samples of each `run.json` by protocol, of every metric; of a run that cannot be read, its error.

    Trials that have a mark in `discard` are left out.
    """
    return [
        made if isinstance(made, ValueError) else _without(discard, path, _decode(path, made))
        for path, made in zip(paths, cache.derived(paths, "samples", _encode, workers), strict=True)
    ]


def _without(discard: Collection[str], path: Path, found: dict[str, Samples]) -> dict[str, Samples]:
    """The samples of a run without its marked trials, which is read anew if it has any."""
    if not set(discard) & set(found[DEFAULT_PROTOCOL].marks):
        return found
    run = marks.discard(store.read(path), discard)
    return {protocol: of_run(run, protocol, METRICS) for protocol in found}


def find_runs(
    places: Sequence[str | Path],
    workers: int = 1,
    skip: store.Skip | None = None,
    discard: Collection[str] = (),
) -> list[tuple[Run, dict[str, Samples]]]:
    """As `store.find`, each run with its samples by protocol; its trials are read when they are looked at.

    Trials that have a mark in `discard` are left out.
    """
    paths = store.locate(places)
    records = [store.attempt(store.read_record, path) for path in paths]
    found = [
        both if isinstance(both, ValueError) else (_unread(path, record, both, discard), both)
        for path, record, both in zip(paths, records, of_runs(paths, workers, discard), strict=True)
    ]
    return sorted(store.without_unreadable(paths, found, places, skip), key=lambda pair: pair[0].record.created)


def _unread(path: Path, record: RunRecord, samples: Mapping[str, Samples], discard: Collection[str]) -> Run:
    strict = samples[DEFAULT_PROTOCOL]
    if strict.discarded:
        return marks.discard(store.read(path), discard)
    return Run(record, store.Unread(path.parent, len(strict.seeds)), path.parent, strict.warnings)


def resolve(
    word: str,
    protocol: str,
    roots: Sequence[Path] = (Path("runs"), MEASURED),
    workers: int = 1,
    skip: store.Skip | None = None,
    discard: Collection[str] = (),
) -> list[Samples]:
    """One side of a comparison, with every metric, without the trials that have a mark in `discard`.

    `word` is a run's directory, a folder of runs, a glob, `published` (every figure), `published:RECIPE`, or the name
    of a recipe with or without `@COMMIT`: all its runs under `roots`, at that commit. `skip`: as in `store.find`.
    ValueError where there is none.
    """
    find_protocol(protocol)
    protocol = RENAMED.get(protocol, protocol)
    kind, colon, name = word.partition(":")
    if kind == PUBLISHED and not Path(word).exists():
        figures = published()
        if colon and name not in figures:
            raise ValueError(f"{word}: there is no published figure of {name!r}; there are: {', '.join(figures)}")
        return [of_figure(figure) for figure in figures.values() if not colon or figure.recipe == name]
    if Path(word).exists() or any(character in word for character in "*?["):
        found = store.locate([word])
    else:
        found = _of_recipe(word, roots, skip)
    read = store.without_unreadable(found, of_runs(found, workers, discard), [word], skip)
    return [one[protocol] for one in read]


def _of_recipe(word: str, roots: Sequence[Path], skip: store.Skip | None) -> list[Path]:
    recipe, _, commit = word.partition("@")
    commit = commit and _full_hash(commit)
    places = [root for root in roots if any(root.glob(f"*/{store.RECORD}"))]
    paths = store.locate(places) if places else []
    records = store.without_unreadable(paths, [store.attempt(_with_record, path) for path in paths], places, skip)
    found = [
        path
        for path, record in records
        if record.recipe_name == recipe and not record.smoke_test and (record.commit or "").startswith(commit)
    ]
    if not found:
        where = " and ".join(map(str, roots))
        raise ValueError(
            f"{word}: neither a run, nor a folder or glob of runs, nor a recipe with runs under {where}"
            + (f" at commit {commit}" if commit else "")
        )
    return found


def _with_record(path: Path) -> tuple[Path, RunRecord]:
    return path, store.read_record(path)


def _full_hash(commit: str) -> str:
    """A commit's hash from any name that git has for it; a hash that git does not know, as it is."""
    command = ["git", "rev-parse", "--verify", "--quiet", "--end-of-options", f"{commit}^{{commit}}"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  no shell
    except FileNotFoundError:
        return commit
    return found.stdout.strip() or commit


NOT_CACHED = ("origin", "published")
"""The origin is a path. A path need not be UTF-8, but JSON is."""


def _encode(path: Path) -> bytes:
    """A run's samples by every protocol and metric, as JSON. Warnings have the path in them, so that a run with some is
    read again."""
    run = store.read(path)
    default = of_run(run, DEFAULT_PROTOCOL, METRICS)
    timed = [name for name, metric in METRICS.items() if metric.by_protocol]
    values = {protocol: {name: find_metric(name).samples(run, protocol) for name in timed} for protocol in PROTOCOLS}
    shared = {each.name: getattr(default, each.name) for each in fields(Samples) if each.name not in NOT_CACHED}
    shared["warnings"] = [printable(warning) for warning in default.warnings]
    encoded = json.dumps({"shared": shared, "by_protocol": values}).encode()
    return cache.Passing(encoded) if run.warnings else encoded


def _decode(path: Path, encoded: bytes) -> dict[str, Samples]:
    loaded = pydantic_core.from_json(encoded)
    shared = loaded["shared"]
    values = {name: tuple(samples) for name, samples in shared["values"].items()}
    same = {name: tuple(shared[name]) for name in ("seeds", "looks", "started", "hosts", "warnings")} | {
        "origin": str(path.parent)
    }
    return {
        protocol: Samples(
            **shared
            | same
            | {
                "facts": shared["facts"] | {"protocol": protocol},
                "values": values | {name: tuple(samples) for name, samples in timed.items()},
            }
        )
        for protocol, timed in loaded["by_protocol"].items()
    }
