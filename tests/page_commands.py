"""The shell commands of a page of the documentation, run as its readers run them.

python -m tests.page_commands docs/first-hour.md > results/measured/first-hour/commands.csv

writes how long each command took. It needs this tree to be installed with the extra `report`.
"""

import csv
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench.conftest import ROOT, environment

SECTION = re.compile(r"^## (?P<title>.+?)$(?P<text>.+?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```sh\n(.+?)^```", re.MULTILINE | re.DOTALL)
STATUS = re.compile(r"# .*exit status (?P<statuses>.+)")
NETWORK = ("git clone", "python -m venv", "pip install")
AUTHOR = {f"GIT_{who}_{what}": "reader@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


def commands(page: Path) -> dict[str, list[str]]:
    """By section, the commands of its blocks `sh` that need no network."""
    found = {}
    for section in SECTION.finditer(page.read_text(encoding="utf-8")):
        lines = re.sub(r"\\\n\s*", "", "".join(BLOCK.findall(section["text"]))).splitlines()
        if lines := [line for line in lines if line.strip() and not line.startswith(NETWORK)]:
            found[section["title"]] = lines
    return found


def words(command: str) -> str:
    """A command without its comment."""
    return command.partition("#")[0].strip()


def run(command: str, folder: Path, tree: Path) -> subprocess.CompletedProcess[str]:
    """A command in `folder`, with Paceline of `tree`.

    AssertionError where it ends with a status other than 0, or than those that its comment names.
    """
    paths = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    passive = {"OMP_WAIT_POLICY": "passive"}  # threads that spin make a busy machine many times slower
    variables = environment(PYTHONPATH=str(tree), PATH=paths, **passive, **AUTHOR)
    line = re.sub(r"^paceline\b", "python -m paceline", command)
    ended = subprocess.run(["bash", "-c", line], cwd=folder, env=variables, capture_output=True, text=True)
    comment = STATUS.search(command)
    expected = {int(status) for status in re.findall(r"\d", comment["statuses"])} if comment else {0}
    assert ended.returncode in expected, f"{command}: status {ended.returncode}\n{ended.stdout}\n{ended.stderr}"
    return ended


def clone(folder: Path) -> Path:
    """A fresh clone of this tree's last commit."""
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    return folder


def timed(page: Path) -> Iterator[tuple[str, str, float]]:
    """Section, command and seconds of each command, each section in a fresh clone."""
    for section, lines in commands(page).items():
        with tempfile.TemporaryDirectory() as folder:
            tree = clone(Path(folder) / "paceline")
            for line in lines:
                started = time.perf_counter()
                run(line, tree, tree)
                yield section, words(line), time.perf_counter() - started


if __name__ == "__main__":
    rows = csv.writer(sys.stdout, lineterminator="\n")
    rows.writerow(["section", "command", "seconds", "load_average"])
    for section, command, seconds in timed(Path(sys.argv[1])):
        rows.writerow([section, command, f"{seconds:.1f}", f"{os.getloadavg()[0]:.1f}"])
        sys.stdout.flush()
