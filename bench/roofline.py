"""Compare the time of each part of a training step with the limit of this machine.

python bench/roofline.py cifar10/davidnet-10

Trains a few steps on noise. The limit of an operation is the longer of two times: its floating-point operations at the
rate of a large matrix product, and its bytes at the rate of a large copy, both measured first.
"""

import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

if __name__ == "__main__":  # this tree, whatever else is installed
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.command_line import cli, options
from bench.command_line.jobs import run_name
from bench.command_line.option_groups import Machine
from bench.command_line.options import Argument
from bench.command_line.recipe_help import HelpAction
from pipelines import recipe
from pipelines.host import runtime
from results import format as form
from results.tables.table import Table

if TYPE_CHECKING:
    from pipelines.probes.roofline import Roofline

PROG = "bench/roofline.py"


@dataclass(frozen=True, kw_only=True)
class RooflineOptions(Machine):
    """The options of bench/roofline.py."""

    title = "what to examine"
    help_action = HelpAction

    recipe: Annotated[str, Argument(metavar="RECIPE", positional=True)]
    """a recipe by name, or a path to a YAML file"""
    overrides: Annotated[list[str], Argument(metavar="key=value", positional=True)] = field(default_factory=list)
    """options of it to set"""
    json: bool = False
    """print one JSON object: seconds, counts, bytes"""


@cli.command
def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, examine, print."""
    given = options.parse(RooflineOptions, PROG, arguments, description=__doc__)
    chosen = recipe.load(given.recipe, given.overrides)
    runtime.prepare(given.threads)
    return examine(run_name(given.recipe), chosen, given.device, as_json=given.json)


def examine(name: str, chosen: recipe.Recipe, device: str, *, as_json: bool) -> int:
    """Examine and print. Imports torch, which --help need not wait for."""
    from pipelines.data import sources, split
    from pipelines.distributed import process_group
    from pipelines.probes import roofline

    dataset = split.select(sources.blank_of(chosen.data), chosen.data)
    found = roofline.examine(chosen, dataset, process_group.alone(device))
    if as_json:
        cli.print_json({"recipe": name} | dataclasses.asdict(found))
    else:
        cli.make_console().print(table(name, found).rich())
    return cli.OK


def table(name: str, found: "Roofline") -> Table:
    """One row a part, what is farthest from its limit first, then the sum and the step as the recipe trains."""
    headers = ("part", "calls", "GFLOP", "MB", "ms", "limit ms", "limit / time", "left ms")
    parts = sorted(found.parts.items(), key=lambda item: item[1].limit - item[1].seconds)

    def row(label: str, calls: int | None, flops: float, moved: float, seconds: float, limit: float) -> tuple[str, ...]:
        return (
            label,
            form.NOTHING if calls is None else str(calls),
            form.number(flops / 1e9),
            form.number(moved / 1e6),
            form.milliseconds(seconds),
            form.milliseconds(limit),
            form.share(limit / seconds if seconds else None),
            form.milliseconds(max(seconds - limit, 0.0)),
        )

    flops, moved, seconds, limit = (
        sum(getattr(part, name) for part in found.parts.values()) for name in ("flops", "bytes", "seconds", "limit")
    )
    rows = [row(part, one.calls, one.flops, one.bytes, one.seconds, one.limit) for part, one in parts]
    rows.append(row("sum, eager", sum(one.calls for one in found.parts.values()), flops, moved, seconds, limit))
    rows.append(row("a step as the recipe trains", None, flops, moved, found.step_seconds, limit))
    caption = (
        f"Limit: the longer of FLOPs at {form.number(found.rates.flops / 1e12)} TFLOP/s (a large matrix product) and "
        f"bytes at {form.number(found.rates.bytes / 1e9)} GB/s (a large copy), summed over the operations; both were "
        "measured on this machine just before. Bytes: what an operation reads and what it writes, a tensor that it "
        "changes for both. "
        "A fused or compiled step moves less, and Winograd's filtering multiplies less, so that a step can be faster "
        "than the sum of the limits."
    )
    return Table(f"roofline of {name}", headers, tuple(rows), caption)


if __name__ == "__main__":
    sys.exit(main())
