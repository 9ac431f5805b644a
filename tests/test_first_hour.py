"""The commands of docs/first-hour.md, as a newcomer runs them in a fresh clone."""

import csv

import pytest

from tests import page_commands
from tests.bench.conftest import ROOT

SECTIONS = page_commands.commands(ROOT / "docs" / "first-hour.md")
SHORTER = {
    "'cifar10/ladder/2[0-2]*'": "'cifar10/ladder/22*' model.widths=[8,8,16,16]",
    "--trials 10 --threads": "--trials 3 --threads",
    "--interleave --trials 20": "--interleave --trials 6",
    "trials: 20": "trials: 5",
    "for night in 1 2 3 4 5": "for night in 1 2",
    "time.sleep(0.3)": "time.sleep(0.15)",
    "bisection.py HEAD~2 HEAD ": "bisection.py HEAD~2 HEAD~1 ",  # nothing is between: only the two ends are compared
    "--fail-on time:50%": "--fail-on time:20%",
}
"""parts of commands, and what the test puts in their place to train less"""


@pytest.mark.slow
@pytest.mark.parametrize("section", SECTIONS)
def test_the_commands_of_a_session_end_as_the_page_says(section, tmp_path):
    if not (ROOT / ".git").exists():
        pytest.skip("needs a git checkout: the commands run in a clone of it")
    tree = page_commands.clone(tmp_path / "paceline")
    for command in SECTIONS[section]:
        page_commands.run(shortened(command), tree, tree)


def shortened(command):
    for long, short in SHORTER.items():
        command = command.replace(long, short)
    return command


def test_each_command_that_is_shortened_is_on_the_page():
    lines = [line for section in SECTIONS.values() for line in section]
    assert {long: sum(long in line for line in lines) for long in SHORTER} == dict.fromkeys(SHORTER, 1)


def test_each_reader_has_a_session():
    assert list(SECTIONS) == ["A student on the ladder", "A researcher with an idea", "An engineer of a nightly job"]


def test_the_recorded_times_are_of_the_commands_on_the_page():
    with (ROOT / "results" / "measured" / "first-hour" / "commands.csv").open(encoding="utf-8", newline="") as file:
        recorded = [(row["section"], row["command"]) for row in csv.DictReader(file)]
    assert recorded == [(name, page_commands.words(line)) for name, lines in SECTIONS.items() for line in lines]
