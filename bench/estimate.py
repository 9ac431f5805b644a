"""Print parameters, floating-point operations, steps and memory of recipes, without training.

python bench/estimate.py cifar10/davidnet-10
"""

import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

if __name__ == "__main__":  # this tree, whatever else is installed
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.command_line import cli, jobs, options
from bench.command_line.option_groups import SmokeTest, Suite
from bench.command_line.options import Argument
from pipelines.recipe import Recipe
from results import format as form

if TYPE_CHECKING:
    from rich.console import Console

    from pipelines.estimate import Estimate

PROG = "bench/estimate.py"
EXAMPLES = """\
examples:
  python bench/estimate.py cifar10/davidnet-10
  python bench/estimate.py 'mnist/*' batch_size=64 --json
  python bench/estimate.py --run runs/20260101T120000Z_mnist-base_a1b2c3"""
MiB = 2**20


@dataclass(frozen=True, kw_only=True)
class EstimateOptions(Suite, SmokeTest):
    """The options of bench/estimate.py."""

    device: Annotated[str, Argument(metavar="DEVICE")] = "auto"
    """cpu, cuda, cuda:N, or auto: CUDA if there is a GPU"""
    run: Annotated[Path, Argument(metavar="RUN")] | None = None
    """the recipe of a recorded run"""
    json: bool = False
    """print one JSON object per recipe: counts, floating-point operations and bytes"""

    def __post_init__(self) -> None:
        if self.run and (self.words or self.suite or self.smoke_test):
            raise ValueError("--run takes the recipe of the run: leave out recipes, options and --smoke-test")
        jobs.check_suite(self)


@cli.command
def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, estimate, print."""
    given = options.parse(EstimateOptions, PROG, arguments, description=__doc__, epilog=EXAMPLES)
    for name, recipe in chosen(given):
        costs = estimate(recipe, given.device)
        if given.json:
            cli.print_json({"recipe": name, "hash": recipe.hash} | as_object(costs))
        else:
            show(cli.make_console(), name, recipe, costs)
    return cli.OK


def chosen(given: EstimateOptions) -> list[tuple[str, Recipe]]:
    """The recipes to estimate, by name."""
    if given.run:
        job = jobs.job_of_run(given.run)
        if not isinstance(job.recipe, Recipe):
            raise ValueError(f"{given.run}: is of a training of your own, whose costs are not known before it runs")
        return [(job.name, job.recipe)]
    return [
        (jobs.run_name(name), jobs.load(name, given.overrides, smoke_test=given.smoke_test))
        for name, _ in jobs.select(given)
    ]


def estimate(recipe: Recipe, device: str) -> "Estimate":
    """The costs of one trial. ValueError where recipe, data and device do not go together. Imports torch."""
    from pipelines import estimate as estimates
    from pipelines.data import sources, split
    from pipelines.host.devices import find_device

    dataset = split.select(sources.blank_of(recipe.data), recipe.data)
    return estimates.estimate(recipe, dataset, find_device(device))


def beside(recipe: Recipe) -> list[str]:
    """The techniques whose operations are not counted."""
    return [f"techniques.{name}" for name in recipe.techniques.where(lambda technique: technique.computes_beside)]


def as_object(costs: "Estimate") -> dict[str, float | None]:
    """The costs as JSON has them: counts, floating-point operations, bytes."""
    return dataclasses.asdict(costs) | {"memory_bytes": costs.memory_bytes}


def show(console: "Console", name: str, recipe: Recipe, costs: "Estimate") -> None:
    """Print the resolved recipe as YAML, and a table of its costs."""
    import yaml
    from rich.table import Table

    cli.print_line(console, f"# {name}, recipe hash {recipe.hash}")
    cli.print_line(console, yaml.safe_dump(recipe.settings, sort_keys=False))
    table = Table(show_header=False)
    sample = "sequence" if recipe.data.is_tokens else "image"
    training = f"not counted: more is computed by {' and '.join(beside(recipe))}"
    if costs.train_flops is not None:
        training = f"{form.number(costs.train_flops / 1e12)} TFLOP per trial"

    def memory(size: float) -> str:
        return f"{form.number(size / MiB)} MiB"

    for label, value in (
        ("parameters", f"{costs.parameters:,}"),
        ("forward pass", f"{form.number(costs.flops_per_image / 1e6)} MFLOP per {sample}"),
        ("steps", f"{costs.steps:,}"),
        ("training", training),
        (f"memory: {sample}s", memory(costs.data_bytes)),
        ("memory: weights, gradients, optimizer", memory(costs.weight_bytes)),
        ("memory: activations of one batch", memory(costs.activation_bytes)),
        ("memory: total", f"{memory(costs.memory_bytes)}, and the temporary memory of single operations"),
    ):
        table.add_row(label, value)
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
