"""The charts of trials, laps, ladders and scaling, as plotly draws them: traces and layouts in plain dictionaries.

The page and the pictures draw these and the one of `history.py`, and no others.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from statistics import fmean
from typing import Any, get_args

from results import format as form
from results.metrics import METRICS, RATES, TIME_TO_TARGET, TOTAL_TIME, Metric
from results.page.chart import (
    BY_PROTOCOL,
    COLOURS,
    Json,
    axis,
    by_protocol,
    clocked,
    colour,
    cut,
    layout,
    merged,
    plain,
    repeated,
    short,
)
from results.protocols import COMMAND, PROTOCOLS, command_rest, elapsed, epoch_reaching, find_protocol
from results.record import LapName, Run, TrialRecord
from results.scaling import Curves, Point
from results.statistics import known_median

LAPS = [name for name in get_args(LapName) if name != "total"]
LAP_COLOURS = {
    "startup": ("c7", 0.5),
    "load": ("c5", 1),
    "transfer": ("c2", 1),
    "preprocess": ("c4", 0.5),
    "build": ("c3", 0.5),
    "whiten": ("c6", 1),
    "pretrain": ("c2", 0.5),
    "compile": ("c1", 1),
    "augment": ("c4", 1),
    "train": ("c0", 1),
    "evaluate": ("c7", 1),
    "final_evaluate": ("c3", 1),
    "command": ("c0", 0.5),
}
ERRORS = [0.1, 0.2, 0.5, 1, 2, 3, 4, 5, 6, 8, 10, 20, 30, 40, 60, 100]
"""ticks of the logarithmic error, in percent"""
MIDDLE_FROM = 3
"""trials from which a run's median curve is drawn"""
LINES = 10
"""trials of a run whose curves are drawn beside its median"""
CROWDED = 16
"""steps of a ladder from which their labels stand upright and gains are not written"""

# --- accuracy over time: traces of a run, drawn together as the reader chooses --------------------------------------

TRIAL = {
    "mode": "lines+markers",
    "line": {"width": 1.6},
    "marker": {"opacity": 1, "line": {"width": 0}},
    "hovertemplate": "%{y:.2f}% after %{x:.4~g} s<br>epoch %{customdata}, seed %{meta[0]}<extra>%{meta[1]}</extra>",
}
STYLES: dict[str, Json] = {
    "trial": TRIAL,
    "faint": {**TRIAL, "line": {"width": 1}, "opacity": 0.3},
    "middle": {"mode": "lines", "line": {"width": 2.6}, "hoverinfo": "skip"},
}


def curves(run: Run, protocols: Sequence[str]) -> list[Json]:
    """Every trial's accuracy in percent over seconds, and from three trials on the median time and mean accuracy of
    each epoch, beside which only the first `LINES` trials are drawn.

    The first trial stands in the legend if there is no median.
    """
    epochs = [[result.epoch for result in trial.epochs if result.accuracy is not None] for trial in run.trials]
    has_middle = len(run.trials) >= MIDDLE_FROM and all(one == epochs[0] for one in epochs)
    seconds = {name: [_seconds(trial, name) for trial in run.trials] for name in protocols}
    accuracies = [[100 * one.accuracy for one in trial.epochs if one.accuracy is not None] for trial in run.trials]
    traces = []
    for index, trial in enumerate(run.trials[:LINES] if has_middle else run.trials):
        last = epoch_reaching(trial) if trial.outcome == "reached" else None
        traces.append(
            {
                "style": "faint" if has_middle else "trial",
                "x": {BY_PROTOCOL: {name: times[index] for name, times in seconds.items() if any(times[index])}},
                "y": [short(value) for value in accuracies[index]],
                "customdata": epochs[index],
                "marker": {"size": [7 if epoch == last else 3 for epoch in epochs[index]]},
                "showlegend": index == 0 and not has_middle,
                "meta": trial.seed,
            }
        )
    if has_middle:
        middle = {
            name: [short(known_median(column)) for column in zip(*times, strict=True)]
            for name, times in seconds.items()
            if any(map(any, times))
        }
        means = [short(fmean(column)) for column in zip(*accuracies, strict=True)]
        traces.append({"style": "middle", "x": {BY_PROTOCOL: middle}, "y": means})
    return traces


def _seconds(trial: TrialRecord, protocol: str) -> list[float | None]:
    ends = elapsed(trial, protocol)
    return [short(ends[result.epoch]) for result in trial.epochs if result.accuracy is not None]


def curves_layouts(target: float) -> Json:
    """The layouts of the curves of runs with this target: of accuracy, and of the error on a logarithmic axis."""
    line = {
        "type": "line",
        "xref": "paper",
        "x0": 0,
        "x1": 1,
        "line": {"color": colour("muted"), "dash": "dot", "width": 1},
    }
    seconds = axis(clocked(), rangemode="tozero")
    errors = axis("error %", type="log", autorange="reversed", tickvals=ERRORS)
    return {
        "": layout(seconds, axis("accuracy %"), height=400, shapes=[{**line, "y0": 100 * target, "y1": 100 * target}]),
        "error": layout(
            seconds, errors, height=400, shapes=[{**line, "y0": 100 * (1 - target), "y1": 100 * (1 - target)}]
        ),
    }


# --- laps: bars of a run, drawn together as the reader chooses -------------------------------------------------------


def laps(trials: Sequence[TrialRecord]) -> dict[str, list[Any]]:
    """Mean seconds of each kind of lap, over the trials that have it, as a number and as text.

    The lap of a command is what is left of it beside the laps that the command reported.
    """
    seconds: dict[str, list[float]] = {}
    for trial in trials:
        own: dict[str, float] = {}
        for lap in trial.laps:
            own[lap.name] = own.get(lap.name, 0) + lap.seconds
        if COMMAND in own:
            own[COMMAND] = command_rest(trial)
        for name, total in own.items():
            seconds.setdefault(name, []).append(total)
    means = {name: fmean(values) for name, values in seconds.items() if name != "total"}
    return {name: [short(mean), form.seconds(mean)] for name, mean in means.items()}


def lap_bars() -> list[Json]:
    """For each kind of lap its bar, hatched where the protocol leaves it out; `laps` of the runs fill it."""
    return [by_protocol(lambda protocol, name=name: _lap_bar(name, protocol)) for name in LAPS]


def _lap_bar(name: str, protocol: str) -> Json:
    clock = find_protocol(protocol)
    inside = bool(clock.laps & {name, "total"}) or (name == COMMAND and clock.counts_command)
    fill, opacity = LAP_COLOURS[name]
    side = "inside" if inside else "outside"
    pattern = {"shape": "" if inside else "/", "size": 6, "solidity": 0.35}
    return {
        "type": "bar",
        "orientation": "h",
        "name": name,
        "marker": {"color": colour(fill), "opacity": opacity, "line": {"width": 0}, "pattern": pattern},
        "hovertemplate": f"{name}: %{{customdata}} s<br>{side} {protocol} time<extra></extra>",
    }


def laps_layouts() -> Json:
    """In seconds, and as shares."""
    names = axis(autorange="reversed", ticks="", gridcolor="rgba(0,0,0,0)")
    shared: Json = {"barmode": "stack", "bargap": 0.35, "legend": {"y": 1, "traceorder": "normal"}}
    return {
        "": merged(layout(axis("seconds"), names), shared),
        "share": merged(layout(axis("% of all laps"), names, barnorm="percent"), shared),
    }


# --- ladder ---------------------------------------------------------------------------------------------------------


Known = list[tuple[str, str, float]]
"""name, change and seconds of the steps that have a time"""


def waterfall(steps: Sequence[tuple[str, str]], times: Json, title: str | Json) -> Json:
    """What each step of a ladder changed of the time.

    steps: name and change of each. times: seconds of each step by protocol, None where it has none; those are left out.
    """

    def made(make: Callable[[Known], Any]) -> Json:
        known = {
            name: [(*step, time) for step, time in zip(steps, of, strict=True) if time is not None]
            for name, of in times[BY_PROTOCOL].items()
        }
        return {BY_PROTOCOL: {name: make(of) for name, of in known.items() if len(of) > 1}}

    trace = {
        "type": "waterfall",
        "x": made(lambda known: list(range(len(known) + 1))),
        "y": made(lambda known: [*_differences(known), short(known[-1][2])]),
        "measure": made(lambda known: ["absolute", *["relative"] * (len(known) - 1), "total"]),
        "text": made(_bar_texts),
        "textposition": "outside",
        "constraintext": "none",
        "cliponaxis": False,
        "customdata": made(
            lambda known: [*(f"{plain(name)}<br>{plain(what)}" for name, what, _ in known), "all steps"]
        ),
        "hovertext": made(lambda known: ["", *(f" ({gain})" for gain in _gains(known)), ""]),
        "hovertemplate": "%{customdata}<br>%{delta:.4~g} s%{hovertext}<extra></extra>",
        "connector": {"line": {"color": colour("line"), "width": 1}},
        "decreasing": {"marker": {"color": colour("good")}},
        "increasing": {"marker": {"color": colour("bad")}},
        "totals": {"marker": {"color": colour("c0")}},
    }
    names = axis(
        tickvals=made(lambda known: list(range(len(known) + 1))),
        ticktext=made(lambda known: [*(plain(cut(_last(name), 24)) for name, *_ in known), "all steps"]),
        tickangle=-90 if len(steps) > CROWDED else -40,
        gridcolor="rgba(0,0,0,0)",
    )
    return {
        "data": [trace],
        "layout": layout(names, axis(title, rangemode="tozero"), height=420, showlegend=False),
    }


def _differences(known: Known) -> list[float | None]:
    times = [time for *_, time in known]
    return [short(times[0]), *(short(after - before) for before, after in pairwise(times))]


def _gains(known: Known) -> list[str]:
    times = [time for *_, time in known]
    return [form.change(after / before) for before, after in pairwise(times)]


def _bar_texts(known: Known) -> list[str]:
    gains = [""] * (len(known) - 1) if len(known) > CROWDED else _gains(known)
    return [form.seconds(known[0][2]), *gains, form.seconds(known[-1][2])]


def _last(name: str) -> str:
    return name.rpartition("/")[2]


# --- scaling --------------------------------------------------------------------------------------------------------


def scaling(found: Sequence[Curves]) -> Json:
    """The rate, total time and time to target over the number of processes, by strategy and kind of scaling.

    found: of one recipe.
    """
    metrics = {"": METRICS[found[0].unit.metric], "total": TOTAL_TIME, "target": TIME_TO_TARGET}
    return {key: _scaling(found, metric) for key, metric in metrics.items()}


def _scaling(found: Sequence[Curves], metric: Metric) -> Json:
    lines = [
        (f"{kind}, {one.strategy}", points)
        for one in found
        for kind, points in (("strong", one.strong), ("weak", one.weak))
        if len(points) > 1
    ]
    worlds = sorted({point.processes for _, points in lines for point in points})
    traces = [trace for place, line in enumerate(lines) for trace in _line(place, *line, metric)]
    xaxis = axis("processes", type="log", tickvals=worlds, ticktext=[str(world) for world in worlds])
    title = metric.title if metric in RATES else clocked(metric.title)
    return {"data": traces, "layout": layout(xaxis, axis(title, type="log", exponentformat="none"), showlegend=True)}


def _line(place: int, name: str, points: Sequence[Point], metric: Metric) -> list[Json]:
    """Medians, trials faint behind them, and dotted what would be in proportion."""
    stroke = colour(f"c{place % COLOURS}")
    worlds = [point.processes for point in points]
    figures = {protocol: [point.figure(metric.name, protocol) for point in points] for protocol in PROTOCOLS}

    def ideal(protocol: str) -> list[float | None]:
        first = figures[protocol][0].value
        ratio = [world / worlds[0] for world in worlds]
        return [None if first is None else short(first * r if metric.higher_is_better else first / r) for r in ratio]

    shared = {"legendgroup": str(place), "line": {"color": stroke, "width": 1.6}}
    return [
        {
            **shared,
            "name": plain(name),
            "x": worlds,
            "y": by_protocol(lambda protocol: [short(figure.value) for figure in figures[protocol]]),
            "mode": "lines+markers",
            "marker": {"color": stroke, "size": 8},
            "hovertemplate": f"%{{y:.4~g}} {metric.unit} with %{{x}}<extra>{plain(name)}</extra>",
        },
        {
            **shared,
            "x": by_protocol(lambda protocol: repeated(worlds, [one.samples for one in figures[protocol]])),
            "y": by_protocol(lambda protocol: [short(value) for one in figures[protocol] for value in one.samples]),
            "mode": "markers",
            "marker": {"color": stroke, "size": 4, "opacity": 0.4},
            "hoverinfo": "skip",
            "showlegend": False,
        },
        {
            **shared,
            "x": worlds,
            "y": by_protocol(ideal),
            "mode": "lines",
            "line": {"color": stroke, "width": 1, "dash": "dot"},
            "hoverinfo": "skip",
            "showlegend": False,
        },
    ]
