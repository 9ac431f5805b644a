"""The charts, as plotly draws them: traces and layouts in plain dictionaries.

The page and the pictures draw these and no others. What depends on the protocol is written for each of them under
`BY_PROTOCOL`, and colours are custom properties of the page's style, so that one figure serves every choice; `resolved`
picks one. Texts of records go through `plain`, because plotly reads tags, entities and %{…} in what it draws.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import compress, groupby, pairwise
from statistics import fmean, median
from typing import Any, get_args

from results import format as form
from results.curves import elapsed
from results.metrics import METRICS, RATES, TIME_TO_TARGET, TOTAL_TIME, Metric
from results.protocols import DEFAULT, PROTOCOLS, epoch_reaching, find_protocol
from results.record import LapName, Run, TrialRecord
from results.scaling import Curves, Point
from results.steps import Level
from results.summary import Figure

Json = dict[str, Any]

BY_PROTOCOL = "$protocol"
COLOURS = 8
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
DOTS = 150
"""trials that are drawn behind a history, which has no room for more"""
BOUNDARIES = 60
"""commits of a history up to which lines between them are drawn"""
CROWDED = 16
"""steps of a ladder from which their labels stand upright and gains are not written"""


def colour(name: str) -> str:
    """A custom property of `page.css`."""
    return f"var(--{name})"


def plain(text: object) -> str:
    """Text that plotly shows as it is."""
    return "".join(f"&#{ord(character)};" if character in "&<>%$" else character for character in str(text))


def cut(text: str, most: int) -> str:
    """So much of a name as leaves room for the chart."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def short(value: float | None) -> float | None:
    """Five digits: no clock here is better, and the page has many numbers."""
    return None if value is None else float(f"{value:.5g}")


def thinned(samples: Sequence[float], most: int) -> list[float]:
    """So many of the samples, evenly spaced in their order, the smallest and the largest among them."""
    if len(samples) <= most:
        return list(samples)
    ordered = sorted(samples)
    return [ordered[round(place * (len(ordered) - 1) / (most - 1))] for place in range(most)]


def by_protocol(make: Callable[[str], Any]) -> Json:
    """A value for each protocol."""
    return {BY_PROTOCOL: {name: make(name) for name in PROTOCOLS}}


def compact(value: Any) -> Any:
    """`value` with one value for all protocols where they have the same."""
    if not isinstance(value, dict):
        return value
    if BY_PROTOCOL in value:
        first, *others = value[BY_PROTOCOL].values()
        return first if all(other == first for other in others) else value
    return {key: compact(item) for key, item in value.items()}


def resolved(value: Any, protocol: str, colours: Mapping[str, str]) -> Any:
    """The value under one protocol, its colours by name."""
    if isinstance(value, Mapping):
        if BY_PROTOCOL in value:
            return resolved(value[BY_PROTOCOL].get(protocol), protocol, colours)
        return {key: resolved(item, protocol, colours) for key, item in value.items()}
    if isinstance(value, list):
        return [resolved(item, protocol, colours) for item in value]
    if isinstance(value, str) and value.startswith("var(--") and value.endswith(")"):
        return colours.get(value[6:-1], value)
    return value


def merged(first: Json, second: Mapping[str, Any]) -> Json:
    """`second` over `first`, group by group."""
    both = {
        key: merged(first[key], second[key]) for key in first.keys() & second.keys() if isinstance(first[key], dict)
    }
    return {**first, **second, **both}


def axis(title: str | Json = "", **more: Any) -> Json:
    """An axis; `title` may be by protocol."""
    return {
        "gridcolor": colour("line"),
        "linecolor": colour("line"),
        "zeroline": False,
        "automargin": True,
        "tickfont": {"color": colour("muted")},
        "title": {"text": title, "font": {"color": colour("muted"), "size": 12}, "standoff": 10},
        **more,
    }


def layout(xaxis: Json, yaxis: Json, **more: Any) -> Json:
    """What all charts have in common."""
    return {
        "height": 380,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"size": 12, "color": colour("ink")},
        "margin": {"l": 50, "r": 12, "t": 28, "b": 40},
        "hoverlabel": {
            "bgcolor": colour("paper"),
            "bordercolor": colour("muted"),
            "font": {"color": colour("ink")},
            "namelength": -1,
            "align": "left",
        },
        "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"},
        "hovermode": "closest",
        "xaxis": xaxis,
        "yaxis": yaxis,
        **more,
    }


def clocked(what: str = "seconds") -> Json:
    """An axis title that names the protocol."""
    return by_protocol(lambda protocol: f"{what}, {protocol} time")


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
        middle = {name: [_median(column) for column in zip(*times, strict=True)] for name, times in seconds.items()}
        means = [short(fmean(column)) for column in zip(*accuracies, strict=True)]
        traces.append({"style": "middle", "x": {BY_PROTOCOL: middle}, "y": means})
    return traces


def _seconds(trial: TrialRecord, protocol: str) -> list[float | None]:
    measured = [result.accuracy is not None for result in trial.epochs]
    return [short(at) for at in compress(elapsed(trial, protocol), measured)]


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return short(median(known)) if known else None


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
    """Mean seconds of each kind of lap, over the trials that have it, as a number and as text."""
    seconds: dict[str, list[float]] = {}
    for trial in trials:
        own: dict[str, float] = {}
        for lap in trial.laps:
            own[lap.name] = own.get(lap.name, 0) + lap.seconds
        for name, total in own.items():
            seconds.setdefault(name, []).append(total)
    means = {name: fmean(values) for name, values in seconds.items() if name != "total"}
    return {name: [short(mean), form.seconds(mean)] for name, mean in means.items()}


def lap_bars() -> list[Json]:
    """For each kind of lap its bar, hatched where the protocol leaves it out; `laps` of the runs fill it."""
    return [by_protocol(lambda protocol, name=name: _lap_bar(name, protocol)) for name in LAPS]


def _lap_bar(name: str, protocol: str) -> Json:
    inside = find_protocol(protocol).laps & {name, "total"}
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


def waterfall(steps: Sequence[tuple[str, str]], times: Json, title: str | Json) -> Json:
    """What each step of a ladder changed of the time.

    steps: name and change of each. times: seconds of each step by protocol, None where it has none; those are left out.
    """

    def made(make: Callable[[list[tuple[str, str, float]]], Any]) -> Json:
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


Known = list[tuple[str, str, float]]


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
            "x": by_protocol(lambda protocol: _repeated(worlds, [one.samples for one in figures[protocol]])),
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


def _repeated(keys: Sequence[Any], groups: Sequence[Sequence[Any]]) -> list[Any]:
    return [key for key, group in zip(keys, groups, strict=True) for _ in group]


# --- history --------------------------------------------------------------------------------------------------------


def history(
    runs: Sequence[Run],
    figures: Mapping[str, Sequence[Figure]],
    levels: Mapping[str, Sequence[Level]],
    enough: Sequence[bool],
    disturbed: Sequence[bool],
) -> Json:
    """One run a point in the order of time, its trials behind it, and the levels between steps.

    figures: by protocol, of each run; levels: by protocol, starting at positions among the runs. enough: whether the
    mean accuracy of a run is at or over its target; else its point is hollow. disturbed: whether a trial of the run is
    marked as busy or throttled; then its point is a diamond. Successive runs of one commit share one label.
    """
    metric = figures[DEFAULT][0].metric
    is_share = metric.unit == "%"

    def scaled(value: float | None) -> float | None:
        return short(100 * value if is_share and value is not None else value)

    stroke, step = colour("c0"), colour("c1")
    places = list(range(len(runs)))
    each = max(3, DOTS // len(runs))
    dots = {name: [thinned(one.samples, each) for one in of] for name, of in figures.items()}
    about = [
        plain(f"{(run.record.commit or 'no commit')[:7]}, {run.record.created:%Y-%m-%d %H:%M}, run {run.record.id}")
        for run in runs
    ]

    def ends(protocol: str) -> list[tuple[Level, int]]:
        found = levels[protocol]
        return list(zip(found, [level.start for level in found[1:]] + [len(runs)], strict=False))

    def steps(make: Callable[[Level, Level], Any]) -> Json:
        pairs = {name: pairwise(found) for name, found in levels.items()}
        return {BY_PROTOCOL: {name: [make(*pair) for pair in of] for name, of in pairs.items()}}

    changed = [at - 0.5 for at in places[1:] if runs[at].record.recipe_hash != runs[at - 1].record.recipe_hash]
    data = [
        {
            "x": by_protocol(lambda name: _repeated(places, dots[name])),
            "y": by_protocol(lambda name: [scaled(value) for one in dots[name] for value in one]),
            "mode": "markers",
            "marker": {"color": stroke, "size": 4, "opacity": 0.3},
            "hoverinfo": "skip",
        },
        {
            "x": by_protocol(lambda name: [x for one, end in ends(name) for x in (one.start - 0.4, end - 0.6, None)]),
            "y": by_protocol(lambda name: [y for one, _ in ends(name) for y in (*[scaled(one.median)] * 2, None)]),
            "mode": "lines",
            "line": {"color": step, "width": 2},
            "hoverinfo": "skip",
        },
        {
            "x": places,
            "y": by_protocol(lambda name: [scaled(one.value) for one in figures[name]]),
            "mode": "markers",
            "marker": {
                "color": [stroke if one else colour("paper") for one in enough],
                "size": 8,
                "symbol": ["diamond" if one else "circle" for one in disturbed] if any(disturbed) else "circle",
                "line": {"color": stroke, "width": 1.5},
            },
            "customdata": about,
            "hovertemplate": f"%{{y:.5~g}} {metric.unit}<br>%{{customdata}}<extra></extra>",
        },
    ]
    groups = commits(runs)
    every = max(1, len(groups) // 10)
    boundaries = [first - 0.5 for _, first, _ in groups[1:]] if len(groups) <= BOUNDARIES else []
    xaxis = axis(
        "commit",
        range=[-0.7, len(runs) - 0.3],
        tickvals=[(first + last) / 2 for _, first, last in groups[::every]],
        ticktext=[name if first == last else f"{name} × {last - first + 1}" for name, first, last in groups[::every]],
        showgrid=False,
        minor={"tickvals": boundaries, "showgrid": True, "gridcolor": colour("line")},
    )
    annotations = steps(
        lambda before, after: {
            "x": after.start - 0.5,
            "y": 1,
            "yref": "paper",
            "yanchor": "bottom",
            "showarrow": False,
            "font": {"color": step},
            "text": step_size(metric, before.median, after.median),
        }
    )
    lines = {
        name: [
            *(_upright(level.start - 0.5, step, "dot") for level in levels[name][1:]),
            *(_upright(at, colour("muted"), "dash") for at in changed),
        ]
        for name in PROTOCOLS
    }
    more = {"annotations": annotations, "shapes": {BY_PROTOCOL: lines}, "showlegend": False}
    return {
        "data": [compact(trace) for trace in data],
        "layout": layout(xaxis, axis(metric.title if is_share else clocked(metric.title)), **more),
    }


def commits(runs: Sequence[Run]) -> list[tuple[str, int, int]]:
    """Successive runs of one commit: its name, or the date of a run without one, and the first and last position."""

    def key(place: int) -> tuple[str, object]:
        record = runs[place].record
        if record.commit is None:
            return f"{record.created:%Y-%m-%d}", place
        return record.commit[:7] + "+" * bool(record.dirty), record.commit

    grouped = [(name, list(places)) for (name, _), places in groupby(range(len(runs)), key)]
    return [(name, places[0], places[-1]) for name, places in grouped]


def step_size(metric: Metric, before: float, after: float) -> str:
    """How a step between two levels is written."""
    return metric.test.write(after - before if metric.unit == "%" else after / before)


def _upright(x: float, stroke: str, dash: str) -> Json:
    line = {"color": stroke, "dash": dash, "width": 1}
    return {"type": "line", "yref": "paper", "y0": 0, "y1": 1, "x0": x, "x1": x, "line": line}
