"""Runs that could be one: those of a job array, of a command that was started again, of many people on one cluster."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from statistics import fmean

from results import store
from results.differences import differences
from results.environment import Energy, known
from results.protocols import DEFAULT
from results.record import Run
from results.samples import Samples, of_run

SHOWN = 60
"""characters of a value that `reasons` gives"""


@dataclass
class _Pool:
    """Runs of one recipe that nothing keeps apart."""

    samples: Samples
    """of the first run, with the facts that any of them knows: one without a trial has no target yet"""
    runs: list[Run] = field(default_factory=list)

    def add(self, run: Run, samples: Samples) -> None:
        self.runs.append(run)
        self.samples = replace(self.samples, facts={**samples.facts, **self.samples.facts})


def pool(runs: Iterable[Run]) -> list[Run]:
    """The runs by the name of their recipe; those that could be one (`groups`) are one, with the trials of all."""
    return sorted(map(merged, groups(runs)), key=_kind)


def groups(runs: Iterable[Run], samples_of: Mapping[str, Samples] | None = None) -> list[list[Run]]:
    """The runs in groups that could be one run. `samples_of`: those of each by its id, where they are known already.

    They could if they compare (`results.differences`) and their trials could be of one run that was trained on several
    hosts (`results.store.differences`): with the same code, versions and processor. A run that was trained until
    decided stays alone: its intervals are those of its own looks. Trials of one seed in several runs are all kept: a
    summary counts what the seed decides once (`Metric.by_seed`).
    """
    found: dict[tuple[object, ...], list[_Pool]] = {}
    for run in runs:
        samples = samples_of[run.record.id] if samples_of else of_run(run, DEFAULT)
        always_known = (getattr(run.record, name) for name in ("recipe_name", *store.SAME_ON_RESUME))
        candidates = found.setdefault(tuple(always_known), [])  # so that few are compared of a thousand
        fitting = next((one for one in candidates if not _apart(one.runs[0], one.samples, run, samples)), None)
        if fitting is None:
            candidates.append(fitting := _Pool(samples))
        fitting.add(run, samples)
    return [one.runs for pools in found.values() for one in pools]


def reasons(pools: Sequence[Run]) -> list[str]:
    """A line for each further pool of a recipe: what keeps its runs apart from those of the first one."""
    lines = []
    for (name, _), members in groupby(pools, _kind):
        first, *others = ((run, of_run(run, DEFAULT)) for run in members)
        lines += [
            f"{name}: {run.path} is not pooled with {first[0].path}: {_apart(*first, run, of)}" for run, of in others
        ]
    return lines


def _kind(run: Run) -> tuple[str, bool]:
    return run.record.recipe_name, run.record.smoke_test


def _apart(one: Run, samples: Samples, other: Run, samples_of_other: Samples) -> str:
    """What keeps two runs of one recipe from being pooled, with the values of both; empty if nothing does."""
    if found := differences([samples], [samples_of_other]):
        return found
    if one.record.plan or other.record.plan:
        return "it was trained until decided" if other.record.plan else "that one was trained until decided"
    differing = store.differences(one.record, other.record)
    kept_apart = {key: pair for key, pair in differing.items() if key not in store.DIFFER_BETWEEN_HOSTS}
    return "; ".join(f"{key}: {_short(first)} → {_short(second)}" for key, (first, second) in kept_apart.items())


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def merged(runs: Sequence[Run]) -> Run:
    """One run with the trials of all, in the order in which they began. Each says where it was trained, so that the
    environment, which is the first run's, names no host. Energy is the mean of the runs that measured it."""
    first, *others = runs
    if not others:
        return first
    trials = [
        (trial.started or run.record.created, trial.model_copy(update={"host": run.host_of(trial)}))
        for run in runs
        for trial in run.trials
    ]
    environment = first.record.environment.model_copy(update={"host_hash": None, "ranks": [], "energy": _energy(runs)})
    seeds = [seed for run in runs for seed in run.record.seeds]
    return Run(
        first.record.model_copy(update={"environment": environment, "seeds": seeds, "interleaved": None}),
        [trial for _, trial in sorted(trials, key=lambda pair: pair[0])],
        first.path,
        tuple(warning for run in runs for warning in run.warnings),
        tuple(trial for run in runs for trial in run.discarded),
        tuple(run.path for run in runs),
    )


def _energy(runs: Sequence[Run]) -> Energy | None:
    found = [energy for run in runs if (energy := known(run.record.environment.energy))]
    if not found:
        return None
    return Energy(
        mean_w=fmean(one.mean_w for one in found), joules_per_trial=fmean(one.joules_per_trial for one in found)
    )
