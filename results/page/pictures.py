"""The page's charts as still pictures, for papers: PNG and SVG by matplotlib."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from results.page.build import needed
from results.page.series import middle, middle_of
from results.protocols import find_protocol

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Json = dict[str, Any]
Drawing = Callable[["Axes"], None]

COLOURS = ("#2b6cb0", "#c2542d", "#2f855a", "#7c4d9e", "#a67c00", "#2c7a7b", "#a8456b", "#616b76")
STYLE = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "font.size": 9,
    "legend.frameon": False,
    "svg.hashsalt": "paceline",
    "text.parse_math": False,
}
"""`parse_math`: a `$` in a recipe's name is a dollar."""
MOST = 8
"""Runs in one picture: as many as there are colours."""


def write(data: Json, folder: Path, formats: Iterable[str], protocol: str) -> list[Path]:
    """Write every picture that `results.page.data.page_data` has runs for, in every format; returns the files.

    Of the newest real run of each recipe. ValueError for an unknown protocol, and where matplotlib is not installed.
    """
    find_protocol(protocol)
    written = []
    for kind in formats:
        needed("matplotlib")
        for name, drawing in drawings(data, protocol).items():
            path = folder / f"{name}.{kind}"
            _save(drawing, path)
            written.append(path)
    return written


def drawings(data: Json, protocol: str) -> dict[str, Drawing]:
    """By file name: curves and laps of each data set and target on each machine class, ladders, scaling, histories."""
    runs = data["runs"]
    found: dict[str, Drawing] = {}
    groups: dict[tuple[Any, ...], dict[str, Json]] = {}
    for run in runs:
        if run["trials"] and not run["sample"]:
            groups.setdefault((run["data_set"], run["target"], run["machine"]), {})[run["name"]] = run
    for number, ((data_set, target, _), newest) in enumerate(groups.items(), start=1):
        chosen = list(newest.values())[-MOST:]
        name = f"{number}-{_file_name(data_set)}-{100 * target:g}"
        found[f"curves-{name}"] = lambda axes, chosen=chosen: curves(axes, chosen, protocol)
        found[f"laps-{name}"] = lambda axes, chosen=chosen: laps(axes, chosen, data["laps"], protocol)
    for number, ladder in enumerate(data["ladders"], start=1):
        found[f"ladder-{number}"] = lambda axes, ladder=ladder: waterfall(axes, ladder, runs, protocol)
    for number, one in enumerate(data["scalings"], start=1):
        found[f"scaling-{number}"] = lambda axes, one=one: scaling(axes, one, runs)
    for number, one in enumerate(data["histories"], start=1):
        found[f"history-{number}"] = lambda axes, one=one: history(axes, one, runs, protocol)
    return found


def curves(axes: "Axes", runs: Sequence[Json], protocol: str) -> None:
    """Accuracy in percent over seconds, a line a trial."""
    for run, colour in zip(runs, COLOURS, strict=False):
        for index, trial in enumerate(run["trials"]):
            seconds = [float("nan") if at is None else at for at in trial["seconds"][protocol]]
            percent = [100 * accuracy for accuracy in trial["accuracies"]]
            axes.plot(
                seconds, percent, color=colour, linewidth=0.9, alpha=0.7, label="" if index else _cut(run["name"])
            )
    axes.axhline(100 * runs[0]["target"], color="0.5", linewidth=0.8, linestyle=":")
    axes.set(xlabel=f"seconds, {protocol} time", ylabel="accuracy %", xlim=(0, None))
    axes.legend()


def laps(axes: "Axes", runs: Sequence[Json], names: Sequence[str], protocol: str) -> None:
    """Mean seconds of each lap as stacked bars; hatched what the protocol leaves out."""
    inside = find_protocol(protocol).laps
    left = [0.0] * len(runs)
    for index, name in enumerate(name for name in names if any(name in run["laps"] for run in runs)):
        seconds = [run["laps"].get(name, 0.0) for run in runs]
        hatch = None if name in inside or "total" in inside else "////"
        colour = COLOURS[index % len(COLOURS)]
        axes.barh(range(len(runs)), seconds, left=left, color=colour, hatch=hatch, edgecolor="white", label=name)
        left = [start + more for start, more in zip(left, seconds, strict=True)]
    axes.set_yticks(range(len(runs)), [_cut(run["name"]) for run in runs])
    axes.invert_yaxis()
    axes.set(xlabel="seconds")
    axes.legend(ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1))


def waterfall(axes: "Axes", ladder: Json, runs: Sequence[Json], protocol: str) -> None:
    """What each rung took off the schedule, or off an epoch where less than two reached their target.

    Rungs without that time are left out.
    """
    times, words = ladder["seconds"][protocol], f"seconds, {protocol} time"
    if sum(seconds is not None for seconds in times) < 2:
        times, words = ladder["epochs"], "seconds an epoch"
    timed = [
        (runs[index], seconds) for index, seconds in zip(ladder["runs"], times, strict=True) if seconds is not None
    ]
    before = 0.0
    for place, (_, seconds) in enumerate(timed):
        colour = COLOURS[0] if place == 0 else COLOURS[2] if seconds <= before else COLOURS[1]
        axes.bar(place, seconds - before, bottom=before, color=colour, edgecolor=colour)  # the edge shows a step of 0
        before = seconds
    axes.bar(len(timed), before, color=COLOURS[0])
    names = [*(_cut(run["name"].rpartition("/")[2]) for run, _ in timed), "all of them"]
    turn = {"rotation": 90} if len(names) > 12 else {"rotation": 45, "ha": "right"}
    axes.set_xticks(range(len(names)), names, **turn)
    axes.set(ylabel=words, title=_title(ladder))


def scaling(axes: "Axes", one: Json, runs: Sequence[Json]) -> None:
    """Images a second over the number of processes, the trials behind their median; dotted: in proportion."""
    worlds = one["worlds"]
    for world, index in zip(worlds, one["runs"], strict=True):
        known = [trial["rate"] for trial in runs[index]["trials"] if trial["rate"] is not None]
        axes.plot([world] * len(known), known, "o", color=COLOURS[0], markersize=2.5, alpha=0.5)
    rates = [middle_of(runs[index], lambda trial: trial["rate"]) for index in one["runs"]]
    axes.plot(worlds, [float("nan") if rate is None else rate for rate in rates], "o-", color=COLOURS[0], markersize=5)
    if rates[0] is not None:
        axes.plot(worlds, [rates[0] * world / worlds[0] for world in worlds], ":", color="0.5", linewidth=0.9)
    axes.set(xscale="log", yscale="log", xlabel="processes", ylabel=f"images/s, {one['batch']}", title=_title(one))
    axes.set_xticks(worlds, [str(world) for world in worlds])
    axes.minorticks_off()


def history(axes: "Axes", one: Json, runs: Sequence[Json], protocol: str) -> None:
    """The median of each run in the order of time, and the levels found."""
    values = [middle(runs[index], "schedule", protocol) for index in one["runs"]]
    known = [(at, value) for at, value in enumerate(values) if value is not None]
    axes.plot([at for at, _ in known], [value for _, value in known], "o", color=COLOURS[0], markersize=3.5)
    levels = one["levels"]["schedule"][protocol]
    ends = [level["start"] for level in levels[1:]] + [len(values)]
    for level, end in zip(levels, ends, strict=True):
        axes.hlines(level["value"], level["start"] - 0.4, end - 0.6, color=COLOURS[1], linewidth=1.2)
    axes.set(xlabel="run", ylabel=f"schedule s, {protocol} time", title=_title(one))


def _save(drawing: Drawing, path: Path) -> None:
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 3.8), layout="constrained")
        drawing(figure.subplots())
        figure.savefig(path, dpi=200, metadata={"Date": None} if path.suffix == ".svg" else None)


def _title(one: Json) -> str:
    return f"{_cut(one['name'])}, {_cut(one['data_set'])}, {_cut(one['machine'])}"


def _cut(name: str, most: int = 36) -> str:
    """So long a name as leaves room for the picture."""
    return name if len(name) <= most else f"{name[: most - 1]}…"


def _file_name(name: str) -> str:
    return "".join(character if character.isalnum() else "_" for character in name)[:60]
