"""The chart of a recipe's runs in the order of time."""

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby, pairwise
from typing import Any

from results.change_points import Level
from results.metrics import Metric
from results.page.chart import (
    BY_PROTOCOL,
    Json,
    axis,
    by_protocol,
    clocked,
    colour,
    compact,
    layout,
    plain,
    repeated,
    short,
)
from results.protocols import DEFAULT, PROTOCOLS
from results.record import Run
from results.summary import Figure

DOTS = 150
"""trials that are drawn behind a history, which has no room for more"""
BOUNDARIES = 60
"""commits of a history up to which lines between them are drawn"""


def history(
    runs: Sequence[Run],
    figures: Mapping[str, Sequence[Figure]],
    levels: Mapping[str, Sequence[Level]],
    enough: Sequence[bool],
    disturbed: Sequence[bool],
    changed: Sequence[int],
) -> Json:
    """One run a point in the order of time, its trials behind it, and the levels between steps.

    figures: by protocol, of each run; levels: by protocol, starting at positions among the runs. enough: whether the
    mean accuracy of a run is at or over its target; else its point is hollow. disturbed: whether a trial of the run is
    marked as disturbed; then its point is a diamond. changed: positions of the runs that do not compare with
    the one before. Successive runs of one commit share one label.
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

    data = [
        {
            "x": by_protocol(lambda name: repeated(places, dots[name])),
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
            *(_upright(at - 0.5, colour("muted"), "dash") for at in changed),
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


def thinned(samples: Sequence[float], most: int) -> list[float]:
    """So many of the samples, evenly spaced in their order, the smallest and the largest among them."""
    if len(samples) <= most:
        return list(samples)
    ordered = sorted(samples)
    return [ordered[round(place * (len(ordered) - 1) / (most - 1))] for place in range(most)]
