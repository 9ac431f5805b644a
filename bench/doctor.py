"""What a careful person checks before a long training: python bench/doctor.py mnist/base

Initial loss, memorising a few images, a learning-rate range test, training and evaluation mode, gradients and updates
layer by layer, time, and what the network is fed. Each check is ok, suspicious or broken. Exit status 1 when something
is broken.
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

PROG = "bench/doctor.py"


@dataclass(frozen=True, kw_only=True)
class DoctorOptions(Machine, Data):
    """The options of bench/doctor.py."""

    title = "what to examine"
    help_action = HelpAction

    recipe: Annotated[str, Argument(metavar="RECIPE", positional=True)]
    """a recipe by name, or a path to a YAML file"""
    overrides: Annotated[list[str], Argument(metavar="key=value", positional=True)] = field(default_factory=list)
    """options of it to set"""
    out: Folder = Path("runs/doctor")
    """where the pictures go"""


@cli.command
def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, examine, print."""
    given = options.parse(DoctorOptions, PROG, arguments, description=__doc__)
    chosen = recipe.load(given.recipe, given.overrides)
    if chosen.target is None:
        raise ValueError(f"{given.recipe}: has no target, and the doctor looks for what keeps a recipe from its target")
    runtime.prepare(given.threads)
    return examine(run_name(given.recipe), chosen, given.device, given.data_dir, given.out)


def examine(name: str, chosen: recipe.Recipe, device: str, data: Path, out: Path) -> int:
    """Run the checks and show them. Imports torch, which --help need not wait for."""
    from bench import doctor_view
    from bench.training.trainers import load_data
    from pipelines import doctor
    from pipelines.distributed.process_group import World
    from pipelines.host.devices import find_device
    from pipelines.train import set_up

    world = World(device=find_device(device))
    examination = doctor.examine(set_up(chosen, load_data(chosen.data, data, world), world))
    doctor_view.show(cli.make_console(), name, chosen, examination, out)
    return cli.WORSE if doctor.worst(examination.findings) == "broken" else cli.OK


if __name__ == "__main__":
    sys.exit(main())
