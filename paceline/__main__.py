"""The commands: `paceline run …`, or `python -m paceline run …`."""

import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from bench import __version__
from bench.command_line import invocation
from bench.command_line.options import Parser, complete

COMMANDS = {
    "run": "train recipes, or a training of your own, and record the trials",
    "show": "print recorded runs, those that could be one pooled",
    "compare": "compare runs: what became faster, slower or less accurate",
    "gate": "train a suite and compare it with an accepted baseline",
    "bisection": "find the commit that made a suite worse",
    "report": "make a page of results",
    "search": "search the options of a recipe",
    "sweep": "train each trial in a process of its own, on one machine or a cluster",
    "scale": "train a recipe on several numbers of processes",
    "doctor": "check a recipe before a long training",
    "query": "query runs with SQL",
    "roofline": "compare the time of a training step with the limits of the machine",
    "recipes": "list and show recipes",
    "estimate": "print parameters, operations, steps and memory of a recipe",
    "data": "download and verify data sets",
    "exchange": "read and write DAWNBench entries; write MLPerf logs and TensorBoard events",
}
"""each is `bench/<name>.py`"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command. Returns its exit status; 2 for an unknown one."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if "_ARGCOMPLETE" in os.environ:
        words = [command_to_complete()]
    name = words[0] if words else "--help"
    if name in ("-h", "--help"):
        print(usage())
        return 0
    if name == "--version":
        print(f"Paceline {__version__}")
        return 0
    if name not in COMMANDS:
        print(f"paceline: error: there is no command {name!r}; there are {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    program = "python -m paceline" if Path(sys.argv[0]).name == "__main__.py" else "paceline"
    sys.argv = [f"bench/{name}.py", *words[1:]]  # what the command reads, and a record keeps
    command = importlib.import_module(f"bench.{name}")
    with invocation.typed_as(program):
        return command.main()


def command_to_complete() -> str:
    """The command on the line that a shell asks to complete, which is in its variables. Answers where the line ends
    with the command itself."""
    line = os.environ["COMP_LINE"][: int(os.environ["COMP_POINT"])]
    _, *words = f"{line}|".split()  # so that a blank at the end counts
    if len(words) < 2:
        parser = Parser("paceline")
        parser.add_argument("command", choices=COMMANDS)
        complete(parser)
    os.environ["_ARGCOMPLETE"] = "2"  # the words before the first option are two, `paceline run`
    return words[0]


def usage() -> str:
    """The commands with a line each."""
    width = max(map(len, COMMANDS))
    lines = (f"  {name.ljust(width)}  {what}" for name, what in COMMANDS.items())
    return "\n".join(["usage: paceline COMMAND ...", "", *lines, "", "paceline COMMAND --help prints its options"])


if __name__ == "__main__":
    sys.exit(main())
