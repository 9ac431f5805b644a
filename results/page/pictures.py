"""The page's charts as PNG and SVG files, drawn from the same figures by plotly's own exporter (kaleido)."""

import re
from collections.abc import Iterable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from results.extras import require
from results.page.chart import BY_PROTOCOL, COLOURS, Json, cut, merged, resolved
from results.protocols import find_protocol

WIDTH, SCALE = 800, 2
BROWSER = "pictures are drawn by Chrome or Chromium, which was not found: install it, or run plotly_get_chrome"


def light_theme() -> dict[str, str]:
    """The colours of `page.css` by name, on white."""
    style = files(__package__).joinpath("page.css").read_text(encoding="utf-8")
    return dict(re.findall(r"--(\w+): light-dark\((#\w+),", style)) | {"paper": "#ffffff"}


def write(data: Json, folder: Path, formats: Iterable[str], protocol: str) -> list[Path]:
    """Write every chart that `results.page.data.page_data` has runs for, in every format; returns the files.

    Curves and laps are of the newest real run of each recipe. ValueError for an unknown protocol, and where kaleido or
    a browser for it is not installed.
    """
    find_protocol(protocol)
    kinds, figures = list(formats), drawings(data, protocol)
    paths = [folder / f"{name}.{kind}" for kind in kinds for name in figures]
    if not paths:
        return []
    require("kaleido", "report")
    try:
        require("plotly.io", "report").write_images(
            list(figures.values()) * len(kinds), paths, width=WIDTH, scale=SCALE
        )
    except RuntimeError as error:
        if "chrome" not in str(error).lower():
            raise
        raise ValueError(BROWSER) from error
    return paths


def drawings(data: Json, protocol: str) -> dict[str, Json]:
    """The figures by file name: curves and laps of each data set and target on each machine class, ladders, scaling,
    histories."""
    found: dict[str, Json] = {}
    groups: dict[tuple[Any, ...], dict[str, Json]] = {}
    for run in data["runs"]:
        if run["trials"] and not run["smoke_test"] and not run["pool"]:
            groups.setdefault((run["data_set"], run["target"], run["machine"]), {})[run["name"]] = run
    for number, ((data_set, target, _), newest) in enumerate(groups.items(), start=1):
        chosen = list(newest.values())[-COLOURS:]
        name = f"{number}-{_file_name(data_set)}-{'no_target' if target is None else f'{100 * target:g}'}"
        if target is not None:
            found[f"curves-{name}"] = curves(data, chosen)
        found[f"laps-{name}"] = laps(data, chosen)
    for kind in ("ladders", "scalings", "histories"):
        for number, one in enumerate(data[kind], start=1):
            title = one.get("key") or f"{one['name']} · {one['data_set']} · {one['machine']}"
            figure = one["figures"][""]
            heading = {"title": {"text": cut(title, 90), "font": {"size": 13}}, "margin": {"t": 60}}
            found[f"{kind}-{number}"] = {**figure, "layout": merged(figure["layout"], heading)}
    colours = light_theme()
    return {name: _drawn(resolved(figure, protocol, colours)) for name, figure in found.items()}


def _drawn(figure: Json) -> Json:
    """Without the curves of trials that have no time under the protocol, which plotly would draw at 0, 1, 2 …"""
    return {**figure, "data": [trace for trace in figure["data"] if trace.get("x", ()) is not None]}


def curves(data: Json, runs: Sequence[Json]) -> Json:
    """Accuracy over time of these runs, which have one target."""
    traces = []
    for place, run in enumerate(runs):
        paint = {"color": f"var(--c{place % COLOURS})"}
        own = {"name": run["label"], "legendgroup": run["id"], "line": paint, "marker": paint}
        for one in run["curves"]:
            trace = merged(merged(data["styles"][one["style"]], one), own)
            traces.append({key: value for key, value in trace.items() if key not in ("style", "meta")})
    return {"data": traces, "layout": data["curves"][runs[0]["goal"]][""]}


def laps(data: Json, runs: Sequence[Json]) -> Json:
    """Mean seconds of each lap of these runs, as stacked bars."""
    places = list(range(len(runs)))
    traces = [
        {BY_PROTOCOL: {name: bar | _filled(lap, runs) for name, bar in bars[BY_PROTOCOL].items()}}
        for lap, bars in zip(data["lap_names"], data["lap_bars"], strict=True)
        if any(lap in run["laps"] for run in runs)
    ]
    names = {"tickvals": places, "ticktext": [run["label"] for run in runs]}
    return {"data": traces, "layout": merged(data["laps"][""], {"height": 110 + 36 * len(runs), "yaxis": names})}


def _filled(lap: str, runs: Sequence[Json]) -> Json:
    return {"x": [run["laps"].get(lap, [0])[0] for run in runs], "y": list(range(len(runs)))}


def _file_name(name: str) -> str:
    return "".join(character if character.isalnum() else "_" for character in name)[:60]
