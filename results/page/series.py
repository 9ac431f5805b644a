"""What the page draws of several runs together: histories, ladders, scaling. Runs are named by their position."""

import json
import re
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from results import steps
from results.ladder import epoch_seconds, time_of
from results.protocols import PROTOCOLS
from results.record import Run

Json = dict[str, Any]

RUNG = re.compile(r"(?P<ladder>.+)/\d+-[^/]+")
"""Names of rungs: numbered, in the folder that is their ladder."""


def histories(shown: Sequence[Json]) -> list[Json]:
    """Real runs of one recipe and target on one machine class, where there are several, with the levels found.

    A level begins at a position among the history's own `runs`; runs without the figure are passed over.
    """
    same = ("name", "data_set", "machine", "strategy", "target")
    grouped: dict[tuple[Any, ...], list[int]] = {}
    for index, run in enumerate(shown):
        if not run["sample"] and run["trials"]:
            grouped.setdefault(tuple(run[key] for key in same), []).append(index)
    return [
        dict(zip(same, values, strict=True)) | {"runs": members, "levels": _levels(shown, members)}
        for values, members in grouped.items()
        if len(members) > 1
    ]


def ladders(runs: Sequence[Run], shown: Sequence[Json]) -> list[Json]:
    """The newest real run of every rung, by ladder, data set and machine class, with the times of `results.ladder`.

    `seconds`: of the whole schedule, by protocol; `epochs`: of an epoch, which a ladder that was cut short has too.
    """
    grouped: dict[tuple[str, str, str], dict[str, int]] = {}
    for index, run in enumerate(shown):
        match = RUNG.fullmatch(run["name"])
        if match and run["trick"] and not run["sample"]:
            grouped.setdefault((match["ladder"], run["data_set"], run["machine"]), {})[run["name"]] = index
    found = []
    for (ladder, data_set, machine), newest in grouped.items():
        members = [newest[name] for name in sorted(newest)]
        if len(members) > 1:
            seconds = {name: [short(time_of(runs[index], name)) for index in members] for name in PROTOCOLS}
            epochs = [short(epoch_seconds(runs[index])) for index in members]
            found.append({"name": ladder, "data_set": data_set, "machine": machine, "runs": members})
            found[-1] |= {"seconds": seconds, "epochs": epochs}
    return found


def scalings(runs: Sequence[Run], shown: Sequence[Json]) -> list[Json]:
    """The newest real run of a recipe at each number of processes, where there are several, the fewest first.

    Strong scaling keeps the global batch, weak scaling the batch of each process (and lets the learning rate follow).
    One process needs no strategy, so that it is the beginning of every strategy's curve.
    """
    grouped: dict[tuple[str, ...], dict[str, dict[int, int]]] = {}
    for index, (run, about) in enumerate(zip(runs, shown, strict=True)):
        batch = run.record.recipe.get("batch_size")
        if not isinstance(batch, int) or about["sample"] or not about["trials"]:
            continue
        kind = str(run.record.environment.get("machine_class", "unknown"))
        share = batch / run.record.world_size
        for words, recipe in (
            (f"batch {batch} in all", run.record.recipe),
            (f"batch {share:g} a process", run.record.recipe | {"batch_size": None, "scaling": None}),
        ):
            key = (about["name"], about["data_set"], kind, words, json.dumps(recipe, sort_keys=True))
            strategy = about["strategy"] if run.record.world_size > 1 else ""
            grouped.setdefault(key, {}).setdefault(strategy, {})[run.record.world_size] = index
    found = []
    for (name, data_set, kind, words, _), strategies in grouped.items():
        alone = strategies.pop("", {})
        for strategy, newest in strategies.items():
            worlds = dict(sorted((alone | newest).items()))
            about = {"name": name, "data_set": data_set, "machine": kind, "batch": words, "strategy": strategy}
            found.append(about | {"worlds": list(worlds), "runs": list(worlds.values())})
    return [one for one in found if len(one["runs"]) > 1]


def middle(run: Json, figure: str, protocol: str) -> float | None:
    """A run's point in its history: mean accuracy, or median seconds of the trials that have this time."""
    if figure == "accuracy":
        return run["accuracy"] and run["accuracy"]["mean"]
    return middle_of(run, lambda trial: trial[figure][protocol])


def middle_of(run: Json, value: Callable[[Json], float | None]) -> float | None:
    """The median over the trials that have it."""
    known = [number for trial in run["trials"] if (number := value(trial)) is not None]
    return median(known) if known else None


def short(number: float | None) -> float | None:
    """Six digits: no clock here is better, and the page has tens of thousands of numbers."""
    return None if number is None else float(f"{number:.6g}")


def _levels(shown: Sequence[Json], members: Sequence[int]) -> Json:
    def found(figure: str, protocol: str = "") -> list[Json]:
        values = [middle(shown[index], figure, protocol) for index in members]
        known = [position for position, value in enumerate(values) if value is not None]
        # of an accuracy, whose whole range is 1, a hundredth of itself would hide every step that matters
        smallest = 0.0 if figure == "accuracy" else steps.SMALLEST
        levels = steps.levels([values[position] for position in known], smallest=smallest)
        return [{"start": known[level.start], "value": short(level.median)} for level in levels]

    times = {figure: {protocol: found(figure, protocol) for protocol in PROTOCOLS} for figure in ("target", "schedule")}
    return times | {"accuracy": found("accuracy")}
