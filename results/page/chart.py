"""What all charts share: values by protocol, colours of the page's style, texts, axes and the layout.

What depends on the protocol is written for each of them under `BY_PROTOCOL`, and colours are custom properties of the
page's style, so that one figure serves every choice; `resolved` picks one. Texts of records go through `plain`, because
plotly reads tags, entities and %{…} in what it draws.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from results.protocols import PROTOCOLS

Json = dict[str, Any]

BY_PROTOCOL = "$protocol"
COLOURS = 8


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


def repeated(keys: Sequence[Any], groups: Sequence[Sequence[Any]]) -> list[Any]:
    """Each key as often as its group has members."""
    return [key for key, group in zip(keys, groups, strict=True) for _ in group]
