"""Trainings of the user's own: a function in a Python file, described as a recipe is. Imports no torch."""

import hashlib
import json
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, JsonValue, field_validator

from pipelines.recipe.config import Config
from pipelines.recipe.training import Data
from pipelines.scripts import metrics as reported

HASH_VERSION = 1
"""Goes into every hash: raise it when the meaning of an option changes."""
ENTRY = re.compile(r"(?P<file>.+\.py):(?P<function>[A-Za-z_]\w*)")
"""a function as people write it: FILE.py:FUNCTION"""


class Script(Config):
    """A training that Paceline starts and records, and does not describe."""

    title: Annotated[str, Field(max_length=100)] = ""
    """one line for lists and tables"""
    change: Annotated[str, Field(max_length=60)] | None = None
    """what it does differently from another one, in a few words"""
    source: str | None = None
    """where it comes from"""
    target: Annotated[float, Field(gt=0, lt=1)]
    """accuracy to reach, as a fraction"""
    data: Data | None = None
    """what it trains on, as its author says; runs on other data do not compare"""

    def with_batch(self, batch_size: int) -> "Script":
        """ValueError: only the author knows its batch."""
        raise ValueError("--batch-per-process sets the batch of a recipe; give a function its batch as an argument")

    def paths(self) -> list[Path]:
        """The files that are known to decide what is trained."""
        return []

    @property
    def hash(self) -> str:
        """12 hexadecimal digits that change when what is trained, on what, or the target changes."""
        canonical = json.dumps([HASH_VERSION, self._trained()], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]

    def _trained(self) -> dict[str, object]:
        """What is trained, wherever its files and data are."""
        left_out = {**dict.fromkeys(("title", "change", "source", "entry"), True), "data": {"path"}}
        return self.model_dump(mode="json", exclude=left_out, exclude_none=True)


class Function(Script):
    """A function of a Python file, which is called once a trial with a `pipelines.scripts.run.Run`."""

    clock: Literal["author"] = "author"
    """who says where laps begin and end"""
    entry: str
    """FILE.py:FUNCTION; in a YAML file, relative to its folder"""
    arguments: dict[str, JsonValue] = Field(default_factory=dict)
    """passed to the function after the run"""
    code: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    """SHA-256 of the file; filled in when it is loaded"""

    @field_validator("entry")
    @classmethod
    def _names_a_function(cls, entry: str) -> str:
        if not ENTRY.fullmatch(entry):
            raise ValueError("a function is written FILE.py:FUNCTION")
        return entry

    @property
    def path(self) -> Path:
        """The file."""
        return Path(self.entry.rpartition(":")[0])

    def paths(self) -> list[Path]:
        return [self.path]

    @property
    def function(self) -> str:
        """The name of the function in it."""
        return self.entry.rpartition(":")[2]

    def _trained(self) -> dict[str, object]:
        return super()._trained() | {"function": self.function}


class Command(Script):
    """A command in any language, which is started once a trial."""

    clock: Literal["command"] = "command"
    """Paceline times the whole process; anything else is what its output says"""
    command: Annotated[str, Field(min_length=1)]
    """with `{seed}` where the seed goes; not run by a shell"""
    metrics: str = "json"
    """where accuracies are: `json` or `json:FILE`, JSON lines on standard output or in a file; or a regular expression
    with named groups"""
    files: dict[str, str] | None = None
    """SHA-256 of each file that the command names; filled in when a run begins: a trial may write such files"""

    @field_validator("command")
    @classmethod
    def _has_words(cls, command: str) -> str:
        if not shlex.split(command):  # ValueError for a quotation that does not end
            raise ValueError("names no program")
        return command

    @field_validator("metrics")
    @classmethod
    def _can_be_read(cls, metrics: str) -> str:
        reported.reader(metrics)  # ValueError for a pattern that finds no accuracy
        return metrics

    def metrics_file(self, seed: int) -> Path | None:
        """The file that the command writes its metrics to, if it does."""
        kind, colon, file = self.metrics.partition(":")
        return Path(file.replace("{seed}", str(seed))) if (kind, colon) == ("json", ":") else None

    def paths(self) -> list[Path]:
        """The files that the command reads, as far as it names them: those that its run began with, or those that are
        there."""
        if self.files is not None:
            return list(map(Path, self.files))
        written = self.metrics_file(seed=0)
        return [path for path in self._named() if path.is_file() and path != written]

    @property
    def name(self) -> str:
        """The first file that it names, or its program."""
        return next(self._named(), Path(shlex.split(self.command)[0])).name

    def _named(self) -> Iterator[Path]:
        """The words that may be files. `python3.11` and `lr=0.1` have no suffix of a file."""
        words = (word for word in shlex.split(self.command) if not word.startswith("-"))
        return (path for path in map(Path, words) if path.suffix[1:2].isalpha())


class Cells(Script):
    """Cells of a notebook, which `paceline.record` times."""

    clock: Literal["author"] = "author"
    """who says where laps begin and end"""
    arguments: dict[str, JsonValue] = Field(default_factory=dict)
    """what the author says of the trial"""
    code: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    """SHA-256 of the cell's text, where it is known"""


def code_of(text: str) -> str:
    """SHA-256 of a text, as `code` has it."""
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_of(path: Path) -> str:
    """Of the bytes of a file, as `files` has it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_entry(name: str) -> bool:
    """Whether a word names a function in a file, and not a recipe."""
    return ENTRY.fullmatch(name) is not None


def entry_from_here(function: Function) -> str:
    """A function by the path of its file from the current folder, which finds it again in the same folder."""
    return f"{Path(os.path.relpath(function.path.resolve())).as_posix()}:{function.function}"


def display_name(entry: str) -> str:
    """The name of a function's runs: with its path below the current folder, or its file alone."""
    file, _, function = entry.rpartition(":")
    path = Path(file).resolve()
    shown = path.relative_to(Path.cwd()).as_posix() if path.is_relative_to(Path.cwd()) else path.name
    return f"{shown}:{function}"
