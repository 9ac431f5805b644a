"""The table of a campaign: one row a fault, printed at the end and written where it is asked for."""

from dataclasses import astuple, dataclass, fields
from pathlib import Path

import pytest


@dataclass
class Row:
    """What a fault did to the trials of a run, over all of its rounds."""

    fault: str
    rounds: int
    written: int
    """trials whose writer was told that they are on the disk"""
    lost: int = 0
    """of those, trials that the reader does not find"""
    twice: int = 0
    """seeds that the reader finds more than once"""
    damaged: int = 0
    """lines that the reader skipped with a warning"""


ROWS: list[Row] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--campaign-table", type=Path, help="write the campaign's table there, as Markdown")


@pytest.fixture
def report():
    """Takes the row of a fault, in which nothing may be lost or twice."""

    def take(row: Row) -> None:
        ROWS.append(row)
        assert (row.lost, row.twice) == (0, 0), row

    return take


def pytest_terminal_summary(terminalreporter, config: pytest.Config) -> None:
    if not ROWS:
        return
    names = [field.name for field in fields(Row)]
    lines = [names, ["---"] * len(names), *([str(value) for value in astuple(row)] for row in ROWS)]
    text = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    terminalreporter.write(f"\n{text}")
    if path := config.getoption("--campaign-table"):
        path.write_text(text, encoding="utf-8")
