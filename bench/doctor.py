"""Check a recipe before a long training: python bench/doctor.py mnist/base

The checks: images and labels, initial loss, memorising a few images, a learning-rate range test, training and
evaluation mode, gradients and updates of each layer, time. Each check is ok, suspicious or broken. Exit status 1 means
that something is broken. For a function of your own (my_file.py:train) only those checks run that need no recipe.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

if __name__ == "__main__":  # this tree, whatever else is installed
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.command_line import cli, options
from bench.command_line.jobs import run_name
from bench.command_line.option_groups import Data, Machine
from bench.command_line.options import Argument, Folder
from bench.command_line.recipe_help import HelpAction
from pipelines import recipe
from pipelines.host import runtime
from pipelines.recipe.scripts import is_entry

PROG = "bench/doctor.py"


@dataclass(frozen=True, kw_only=True)
class DoctorOptions(Machine, Data):
    """The options of bench/doctor.py."""

    title = "what to examine"
    help_action = HelpAction

    recipe: Annotated[str, Argument(metavar="RECIPE", positional=True)]
    """a recipe by name, a path to a YAML file, or FILE.py:FUNCTION"""
    overrides: Annotated[list[str], Argument(metavar="key=value", positional=True)] = field(default_factory=list)
    """options of it to set"""
    out: Folder = Path("runs/doctor")
    """where the pictures go"""


@cli.command
def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, examine, print."""
    given = options.parse(DoctorOptions, PROG, arguments, description=__doc__)
    overrides = given.overrides
    if is_entry(given.recipe) and not any(override.startswith("target=") for override in overrides):
        overrides = [*overrides, "target=0.5"]  # which no check depends on
    chosen = recipe.load_any(given.recipe, overrides)
    if isinstance(chosen, recipe.Command):
        raise ValueError(f"{given.recipe}: a command is timed from outside: there is nothing to examine")
    if chosen.target is None:
        raise ValueError(f"{given.recipe}: has no target, and the doctor checks recipes that have one")
    runtime.prepare(given.threads)
    name = run_name(given.recipe)
    if isinstance(chosen, recipe.Function):
        return examine_function(name, chosen, given.device, given.data_dir)
    assert isinstance(chosen, recipe.Recipe)
    return examine(name, chosen, given.device, given.data_dir, given.out)


def examine(name: str, chosen: recipe.Recipe, device: str, data: Path, out: Path) -> int:
    """Run the checks and show them. Imports torch, which --help need not wait for.

    In float32 where a CPU would emulate bfloat16: no check needs it, and it takes minutes there instead of seconds.
    """
    from bench import doctor_view
    from bench.training.trainers import load_data
    from pipelines import doctor, preflight
    from pipelines.distributed import process_group
    from pipelines.train import set_up

    world, console = process_group.alone(device), cli.make_console()
    dataset = load_data(chosen.data, data, world)
    if world.device.type == "cpu" and preflight.emulation(chosen, dataset, world):
        chosen = chosen.model_copy(update={"precision": "float32"})
        cli.print_line(console, "examined and timed in float32: this CPU has no bfloat16 and emulates it slowly")
    examination = doctor.examine(set_up(chosen, dataset, world))
    doctor_view.show(console, name, chosen, examination, out)
    return cli.WORSE if doctor.worst(examination.findings) == "broken" else cli.OK


def examine_function(name: str, chosen: recipe.Function, device: str, data: Path) -> int:
    """As `examine`, of a function of the user's own: it trains three epochs, each in a trial of its own."""
    from bench import doctor_view
    from bench.training.trainers import OwnTrainer
    from pipelines import doctor
    from pipelines.distributed import process_group

    trainer = OwnTrainer(chosen, data, process_group.alone(device), smoke_test=True, track=False)
    examination = doctor.examine_function(trainer.run_trial)
    table = doctor_view.findings_table(name, examination.findings, examination.absent)
    cli.make_console().print(table.rich())
    return cli.WORSE if doctor.worst(examination.findings) == "broken" else cli.OK


if __name__ == "__main__":
    sys.exit(main())
