"""What a careful person checks before a long training: python bench/doctor.py mnist/base

Initial loss, memorising a few images, a learning-rate range test, the two modes of the network, gradients and updates
layer by layer, time, and what the network is really fed. Each check is ok, suspicious or broken. Exit status 1 when
something is broken, 2 when it could not be examined.
"""

import sys
from pathlib import Path

from bench.one_line_parser import OneLineParser
from bench.run_arguments import positive, run_name
from pipelines import recipe
from pipelines.data.sources import default_folder
from pipelines.host import runtime


def main(arguments: list[str] | None = None) -> int:
    """Parse, examine, print."""
    parser = OneLineParser(prog="bench/doctor.py", description=(__doc__ or "").partition("\n\n")[2])
    add = parser.add_argument
    add("recipe", metavar="RECIPE", help="a recipe by name, or a path to a YAML file")
    add("overrides", nargs="*", metavar="key=value", help="knobs to override")
    add("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    add("--threads", type=positive, metavar="N", help="CPU threads (default: the cores)")
    add("--data-dir", type=Path, default=default_folder(), metavar="DIR", help="where data sets lie")
    pictures = "where the pictures go (default: %(default)s)"
    add("--out", type=Path, default=Path("runs/doctor"), metavar="DIR", help=pictures)
    options = parser.parse_args(arguments)
    try:
        chosen = recipe.load(options.recipe, options.overrides)
        runtime.prepare(options.threads)
        return examine(run_name(options.recipe), chosen, options.device, options.data_dir, options.out)
    except (ValueError, OSError) as error:
        print(f"bench/doctor.py: error: {error}", file=sys.stderr)
        return 2


def examine(name: str, chosen: recipe.Recipe, device: str, data: Path, out: Path) -> int:
    """Run the checks and show them. Imports torch, which --help need not wait for."""
    from bench import doctor_view
    from bench.live_view import make_console
    from bench.run_trials import load_data
    from pipelines import doctor
    from pipelines.distributed.process_group import World
    from pipelines.host.devices import find_device
    from pipelines.train import set_up

    world = World(device=find_device(device))
    examination = doctor.examine(set_up(chosen, load_data(chosen.data, data, world), world))
    doctor_view.show(make_console(is_main=True), name, chosen, examination, out)
    return int(doctor.worst(examination.findings) == "broken")


if __name__ == "__main__":
    sys.exit(main())
