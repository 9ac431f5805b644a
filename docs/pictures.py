"""Draw who talks to whom under each strategy: python docs/pictures.py writes docs/strategies/*.svg.

All text stands on light shapes, and lines are of a middle grey: the pictures can be read on light and dark pages.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

FOLDER = Path(__file__).resolve().parent / "strategies"
BOX, ROW_GAP = 210, 70
"""pixels: width of a process, and between processes one below the other"""
TIPS = 64
"""pixels of an arrow beside its label, between processes side by side"""
LINE, MARGIN = 20, 12
SIDE = 32
"""pixels at the sides, where a label is wider than its process"""
FILL, LABEL, LINES, TEXT = "#dbe7ff", "#fff3cd", "#7d8590", "#1f2328"
Place = tuple[int, int]
"""column and row of a process"""


@dataclass(frozen=True)
class Arrow:
    """What two neighbours send."""

    start: Place
    end: Place
    label: str
    both_ways: bool = True


def both(label: str, start: Place = (0, 0), end: Place = (1, 0)) -> Arrow:
    """Both processes send it."""
    return Arrow(start, end, label)


def there_and_back(values: str, start: Place, end: Place) -> list[Arrow]:
    """Values forward, and their gradients back."""
    return [Arrow(start, end, values, False), Arrow(end, start, "their gradients", False)]


@dataclass(frozen=True)
class Picture:
    """Processes with what each has, and what they send."""

    processes: dict[Place, Sequence[str]]
    arrows: Sequence[Arrow]


def pair(*has: str) -> dict[Place, Sequence[str]]:
    """Two processes that have the same."""
    return {(0, 0): has, (1, 0): has}


def square(left: str, right: str, *has: str) -> dict[Place, Sequence[str]]:
    """Two copies below each other, each of two processes."""
    return {(column, row): (part, *has) for row in (0, 1) for column, part in enumerate((left, right))}


def between_copies(label: str) -> list[Arrow]:
    """What the processes with the same part of a network send."""
    return [both(label, (column, 0), (column, 1)) for column in (0, 1)]


STAGES: dict[Place, Sequence[str]] = {
    (0, 0): ("first layers", "images"),
    (1, 0): ("middle layers",),
    (2, 0): ("last layers", "labels, loss"),
}
PICTURES = {
    "ddp": Picture(
        pair("all weights", "all optimizer state", "half of the images"), [both("gradients: all-reduce, in buckets")]
    ),
    "local-sgd": Picture(
        pair("all weights", "all optimizer state", "half of the images"), [both("weights: mean every few steps")]
    ),
    "zero-1": Picture(
        pair("all weights", "half of the optimizer state", "half of the images"),
        [both("gradients: reduce"), both("new weights: all-gather")],
    ),
    "fsdp2": Picture(
        pair("half of the weights", "half of the optimizer state", "half of the images"),
        [both("a block's weights: all-gather, twice"), both("gradients: reduce-scatter")],
    ),
    "hsdp": Picture(
        square("first half of the weights", "second half of the weights", "a quarter of the images"),
        [
            *(both("weights: all-gather, twice", (0, row), (1, row)) for row in (0, 1)),
            *(both("gradients: reduce-scatter", (0, row), (1, row)) for row in (0, 1)),
            *between_copies("gradients of a shard: all-reduce"),
        ],
    ),
    "pipeline": Picture(
        STAGES, [arrow for n in (0, 1) for arrow in there_and_back("values of a micro-batch", (n, 0), (n + 1, 0))]
    ),
    "model": Picture(
        STAGES, [arrow for n in (0, 1) for arrow in there_and_back("values of the batch", (n, 0), (n + 1, 0))]
    ),
    "pipeline-2x2": Picture(
        square("first stage", "second stage", "half of the images"),
        [
            *(arrow for row in (0, 1) for arrow in there_and_back("values of a micro-batch", (0, row), (1, row))),
            *between_copies("gradients of a stage: all-reduce"),
        ],
    ),
    "tensor": Picture(
        pair("half of each linear layer", "all convolutions", "the same images"),
        [both("sums of outputs: all-reduce"), both("gradients of inputs: all-reduce")],
    ),
    "columns": Picture(
        pair("half of each layer's kernels", "the last layer", "the same images"),
        [both("activations: all-gather"), both("their gradients: reduce-scatter")],
    ),
}


def svg(picture: Picture) -> str:
    """The picture as a file."""
    height = 2 * MARGIN + LINE * (1 + max(map(len, picture.processes.values())))
    gap = TIPS + max(length(arrow.label) for arrow in picture.arrows if arrow.start[1] == arrow.end[1])
    columns, rows = (1 + max(place[axis] for place in picture.processes) for axis in (0, 1))
    width = columns * BOX + (columns - 1) * gap + 2 * SIDE
    whole = rows * height + (rows - 1) * ROW_GAP + 2 * MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {whole}" width="{width}" height="{whole}" '
        'font-family="system-ui, sans-serif" font-size="14">',
        f'<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" '
        f'orient="auto-start-reverse"><path d="M0 0 L8 4 L0 8 z" fill="{LINES}"/></marker></defs>',
    ]
    for number, (place, has) in enumerate(sorted(picture.processes.items(), key=lambda item: item[0][::-1])):
        x, y = corner(place, gap, height)
        parts.append(f'<rect x="{x}" y="{y}" width="{BOX}" height="{height}" rx="8" fill="{FILL}" stroke="{LINES}"/>')
        for line, words in enumerate((f"process {number}", *has)):
            weight = ' font-weight="600"' if line == 0 else ""
            parts.append(text(x + BOX / 2, y + MARGIN + LINE * (line + 0.75), words, weight))
    neighbours: dict[frozenset[Place], list[Arrow]] = {}
    for arrow in picture.arrows:
        neighbours.setdefault(frozenset((arrow.start, arrow.end)), []).append(arrow)
    for arrows in neighbours.values():
        for index, arrow in enumerate(arrows):
            parts += drawn(arrow, gap, height, (index + 1) / (len(arrows) + 1))
    return "\n".join([*parts, "</svg>", ""])


def corner(place: Place, gap: int, height: int) -> tuple[int, int]:
    """Left and top of a process."""
    return SIDE + place[0] * (BOX + gap), MARGIN + place[1] * (height + ROW_GAP)


def length(label: str) -> int:
    """Pixels that a label is wide."""
    return round(7.1 * len(label)) + 12


def drawn(arrow: Arrow, gap: int, height: int, share: float) -> list[str]:
    """The line, at this share of the side of its processes, and the label on it."""
    (x, y), (other_x, other_y) = corner(arrow.start, gap, height), corner(arrow.end, gap, height)
    if arrow.start[1] == arrow.end[1]:
        level = y + share * height
        ends = (x + BOX, level, other_x, level) if x < other_x else (x, level, other_x + BOX, level)
    else:
        ends = (x + share * BOX, y + height, x + share * BOX, other_y)
    start = ' marker-start="url(#tip)"' if arrow.both_ways else ""
    x1, y1, x2, y2 = ends
    line = f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" stroke="{LINES}" stroke-width="2"'
    middle, level, wide = (x1 + x2) / 2, (y1 + y2) / 2, length(arrow.label)
    return [
        f'{line} marker-end="url(#tip)"{start}/>',
        f'<rect x="{middle - wide / 2:g}" y="{level - 11:g}" width="{wide}" height="22" rx="11" fill="{LABEL}"/>',
        text(middle, level + 5, arrow.label),
    ]


def text(x: float, y: float, words: str, more: str = "") -> str:
    """Centred words."""
    return f'<text x="{x:g}" y="{y:g}" text-anchor="middle" fill="{TEXT}"{more}>{escape(words)}</text>'


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, picture in PICTURES.items():
        (FOLDER / f"{name}.svg").write_text(svg(picture), encoding="utf-8")


if __name__ == "__main__":
    main()
