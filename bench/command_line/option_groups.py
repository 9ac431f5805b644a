"""Groups of options that several commands share."""

import argparse
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar

from bench.command_line import suites
from bench.command_line.options import Argument, Count, Folder, Options, Seed, positive, size
from bench.command_line.recipe_help import HelpAction
from pipelines.data.sources import default_folder
from results import protocols

DEFAULT_RECIPE = "digits/quick"
DEFAULT_TRIALS = 3
WHAT = "what to train"
WHERE = "where to train"
OUTPUT = "output"


def protocol_name(text: str) -> str:
    """The name of a protocol, which may be given by its old name."""
    try:
        return protocols.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def recipe_words() -> list[str]:
    """Every recipe, and every option as it is begun: `epochs=`."""
    from pipelines import recipe
    from pipelines.recipe.config import documented

    return [*recipe.names(), *dict.fromkeys(f"{key}=" for key, _ in documented(recipe.Recipe))]


@dataclass(frozen=True, kw_only=True)
class Recipes(Options):
    """Recipes and changes to them."""

    title = WHAT
    help_action = HelpAction

    words: Annotated[list[str], Argument(metavar="RECIPE | key=value ...", positional=True, choices=recipe_words)] = (
        field(default_factory=list)
    )
    """recipes (name, glob, YAML file or FILE.py:FUNCTION; default: digits/quick) and options to set"""

    @property
    def names(self) -> list[str]:
        """The words that name recipes, or the default recipe."""
        return [word for word in self.words if "=" not in word] or [DEFAULT_RECIPE]

    @property
    def overrides(self) -> list[str]:
        """The words that set options of recipes."""
        return [word for word in self.words if "=" in word]


@dataclass(frozen=True, kw_only=True)
class Suite(Recipes):
    """A suite in place of recipes."""

    suite: Annotated[str, Argument(metavar="NAME", choices=suites.names)] | None = None
    """the recipes and trials of a suite, by name or file"""


@dataclass(frozen=True, kw_only=True)
class Vary(Suite):
    """Options of which several values are tried."""

    title = WHAT

    vary: Annotated[list[str], Argument(metavar="KEY=A|B")] = field(default_factory=list)
    """one run for each value of an option; may be repeated"""


@dataclass(frozen=True, kw_only=True)
class Trials(Options):
    """How often, with which seeds."""

    title = WHAT

    trials: Count | None = None
    """trials of each recipe, one seed each (default: 3)"""
    seed: Seed | None = None
    """seed of the first trial (default: 0)"""


@dataclass(frozen=True, kw_only=True)
class SmokeTest(Options):
    """A short training."""

    title = WHAT
    renamed: ClassVar = {"--sample": "--smoke-test"}

    smoke_test: bool = False
    """a few steps that show that it works; no download"""


@dataclass(frozen=True, kw_only=True)
class Machine(Options):
    """What a process computes with."""

    title = WHERE

    device: Annotated[str, Argument(metavar="DEVICE")] = "auto"
    """cpu, cuda, cuda:N; auto: a GPU if any"""
    threads: Count | None = None
    """CPU threads a process (default: its share of cores)"""


@dataclass(frozen=True, kw_only=True)
class Executor(Options):
    """What trains: this process one trial after the other, or Ray several at a time."""

    title = "several at a time, by Ray (extra `cluster`)"

    workers: Count | None = None
    """trials at a time on this machine"""
    cluster: Annotated[str, Argument(metavar="auto|ADDRESS")] | None = None
    """trials over the Ray cluster of this host, or at an address"""

    @property
    def by_ray(self) -> bool:
        """Whether Ray is asked for."""
        return self.workers is not None or self.cluster is not None

    def __post_init__(self) -> None:
        if self.workers and self.cluster:
            raise ValueError("--workers is for this machine, --cluster for many: give one of them")


@dataclass(frozen=True, kw_only=True)
class Timeout(Options):
    """When a process counts as lost."""

    title = WHERE

    timeout: Annotated[int, Argument(positive, "SECONDS")] | None = None
    """silence after which a process is lost (default: 300)"""


@dataclass(frozen=True, kw_only=True)
class MemoryLimit(Options):
    """How much memory a process may take."""

    title = WHERE

    memory_limit: Annotated[int, Argument(size, "SIZE")] | None = None
    """memory for the training in a process, such as 2GiB"""


@dataclass(frozen=True, kw_only=True)
class Data(Options):
    """Where data sets are."""

    title = WHERE

    data_dir: Folder = field(default_factory=default_folder)
    """where data sets are (default: $PACELINE_DATA or data)"""


@dataclass(frozen=True, kw_only=True)
class PassedOn(Machine, Timeout, Data):
    """What a command passes on to every training that it starts."""


@dataclass(frozen=True, kw_only=True)
class Records(Options):
    """Where runs are recorded, and how their times are counted."""

    title = OUTPUT

    out: Folder = Path("runs")
    """where runs are recorded"""
    protocol: Annotated[str, Argument(protocol_name, "|".join(protocols.PROTOCOLS))] = protocols.DEFAULT
    """which laps count as the time"""


@dataclass(frozen=True, kw_only=True)
class Probes(Options):
    """What is measured beside the timed trials."""

    title = "also measure"

    track: bool = False
    """write TensorBoard events (extra `track`)"""
    profile: bool = False
    """trace a few steps after the trials, for Perfetto"""
    energy: bool = False
    """measure joules per trial afterwards (NVML, powercap)"""
    communication: bool = False
    """count the bytes that a step sends, after the trials"""

    @property
    def has_probes(self) -> bool:
        """Whether anything is measured after the timed trials."""
        return self.profile or self.energy or self.communication


@dataclass(frozen=True, kw_only=True)
class Json(Options):
    """Output for machines."""

    title = OUTPUT

    json: bool = False
    """one JSON object per run on stdout, all else on stderr"""


@dataclass(frozen=True, kw_only=True)
class DryRun(Options):
    """What would be run."""

    title = OUTPUT

    dry_run: bool = False
    """print the commands and run nothing"""
