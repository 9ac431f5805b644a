"""Convert runs to and from DAWNBench, MLPerf and TensorBoard formats.

  python bench/exchange.py to-dawnbench RUN --out submission --author NAME --email ADDRESS --code-url URL
  python bench/exchange.py from-dawnbench submission/x.json --out runs        a run directory that names its origin
  python bench/exchange.py to-mlperf RUN --out logs                           one log per trial
  python bench/exchange.py to-tensorboard RUN --out events                    curves of a run that was not tracked

CSV and Parquet: python bench/query.py "select 1" RUNS --write DIR --files csv
"""

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if __name__ == "__main__":  # this tree, whatever else is installed
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.command_line import cli
from bench.command_line.options import Parser, share

if TYPE_CHECKING:
    from results.record import Run


@cli.command
def main(arguments: Sequence[str] | None = None) -> int:
    """Convert, and print the paths of what was written."""
    options = parse(arguments)
    for path in options.exchange(options):
        print(path)
    return cli.OK


def to_dawnbench(options: argparse.Namespace) -> list[Path]:
    """write a DAWNBench submission: two files per trial"""
    from results import store
    from results.exports import dawnbench

    who = {"author": options.author, "email": options.email, "code_url": options.code_url}
    run = _with_result(store.read(options.source))
    name = run.options.data.name
    if name not in (None, dawnbench.DATA):
        raise ValueError(f"{run.path}: was trained on {name}, and DAWNBench's submissions are of {dawnbench.DATA}")
    return dawnbench.write(run, options.out, **who, cost_per_hour=options.cost_per_hour)


def from_dawnbench(options: argparse.Namespace) -> list[Path]:
    """read a DAWNBench submission into a run directory"""
    from results import store
    from results.exports import dawnbench

    run = dawnbench.read(options.source, options.target)
    directory = store.create(options.out, run.record)
    for trial in run.trials:
        directory.append(trial)
    directory.finish("finished")
    return [directory.path]


def to_mlperf(options: argparse.Namespace) -> list[Path]:
    """write MLPerf logs, one per trial (extra `mlperf`)"""
    from results import store
    from results.exports import mlperf

    run = _with_result(store.read(options.source))
    options.out.mkdir(parents=True, exist_ok=True)
    paths = [options.out / f"{run.path.name}_seed{trial.seed}.log" for trial in run.trials]
    for trial, path in zip(run.trials, paths, strict=True):
        mlperf.write(run, trial, path)
    return paths


def _with_result(run: "Run") -> "Run":
    """The run. ValueError where it has nothing to submit: these formats are of times to a target."""
    if run.has_no_target:
        raise ValueError(f"{run.path}: has no target, and this format is of times to a target")
    if run.record.smoke_test:
        raise ValueError(f"{run.path}: is a smoke test, whose numbers mean nothing: give another run")
    return _with_trials(run)


def _with_trials(run: "Run") -> "Run":
    """The run. ValueError where no trial of it has ended."""
    if not run.trials:
        raise ValueError(f"{run.path}: no trial has ended: there is nothing to write")
    return run


def to_tensorboard(options: argparse.Namespace) -> list[Path]:
    """write TensorBoard events, one folder per trial (extra `track`)"""
    from results import store
    from results.exports import tensorboard

    return tensorboard.write(_with_trials(store.read(options.source)), options.out)


def price(text: str) -> float:
    """A number from 0 on."""
    value = float(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a price")
    return value


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options. Exits with status 2 and one line for a command line that is wrong."""
    parser = Parser("bench/exchange.py", __doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for exchange in (to_dawnbench, from_dawnbench, to_mlperf, to_tensorboard):
        command = commands.add_parser(exchange.__name__.replace("_", "-"), help=exchange.__doc__)
        command.set_defaults(exchange=exchange)
        command.add_argument("source", type=Path, help="run directory, or JSON file of a submission")
        command.add_argument("--out", type=Path, required=True, metavar="DIR", help="where to write")
        if exchange is to_dawnbench:
            for name in ("--author", "--email", "--code-url"):
                command.add_argument(name, required=True)
            command.add_argument("--cost-per-hour", type=price, metavar="USD", help="of the machine")
        if exchange is from_dawnbench:
            command.add_argument("--target", type=share, default=0.94, help="as a fraction (default: %(default)s)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
