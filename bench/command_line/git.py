"""git commands, for what is kept or sought in a repository."""

import os
import subprocess
from pathlib import Path

from pipelines.host.git_variables import without_places


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A git command that has ended. Its messages are in English, because some are read."""
    command = ["git", "-C", str(folder), *words]
    variables = without_places(os.environ) | {"LC_ALL": "C"}
    return subprocess.run(  # noqa: S603  no shell
        command, env=variables, capture_output=True, text=True, encoding="utf-8", errors="replace"
    )


def output(folder: Path, *words: str) -> str:
    """What a git command prints. ValueError, with its message, where it fails."""
    ended = run(folder, *words)
    if ended.returncode:
        raise failure(folder, ended)
    return ended.stdout


def failure(folder: Path, ended: subprocess.CompletedProcess[str]) -> ValueError:
    """What a git command that has failed says, in one line."""
    return ValueError(f"{folder}: git {ended.args[3]}: {' '.join((ended.stderr or ended.stdout).split())}")
