"""A table keeps every number on a console of any width."""

import io

import pytest
import rich.console

from results.tables import Table

HEADERS = ("recipe", "trials", "accuracy %", "reached target", "p", "time to target s", "total s", "machine")
ROWS = (
    (
        "cifar10/ladder/22-label-smoothing",
        "6",
        "94.25 ± 0.12",
        "6 of 6",
        "–",
        "251.9 [246.9, 257]",
        "12,345.6",
        "EPYC",
    ),
    ("cifar10/airbench94", "6", "94.05 ± 0.11", "5 of 6", "–", "151.9 [146.9, 157]", "1,491", "EPYC"),
)
TABLE = Table("strict time", HEADERS, ROWS, "A caption.")
NUMBERS = (
    "94.25",
    "0.12",
    "251.9",
    "[246.9,",
    "257]",
    "12,345.6",
    "94.05",
    "0.11",
    "151.9",
    "[146.9,",
    "157]",
    "1,491",
)


def shown(table, width):
    out = rich.console.Console(width=width, file=io.StringIO())
    out.print(table.rich())
    return out.file.getvalue()


@pytest.mark.parametrize("width", range(24, 161))
def test_every_number_is_whole_in_every_width(width):
    text = shown(TABLE, width)
    assert max(map(len, text.splitlines())) <= width
    words = text.split()
    for number in NUMBERS:
        assert number in words, number
    assert "A caption." in text
    assert "strict time" in text


def test_a_wide_console_has_all_columns():
    head = next(line for line in shown(TABLE, 160).splitlines() if "recipe" in line)
    assert head.split("  ") != [head]
    assert all(header in head for header in HEADERS)


def test_on_a_narrow_one_a_column_that_says_the_same_everywhere_is_one_line():
    text = shown(TABLE, 60)
    assert text.count("machine: EPYC") == 1
    assert "trials: 6" in text
    assert "p:" not in text, "an empty column is left out"
    assert "cifar10/" in text


def test_on_a_very_narrow_one_each_row_is_a_block():
    lines = [line.strip() for line in shown(TABLE, 40).splitlines()]
    assert lines.count("machine: EPYC") == 2
    assert "total s: 12,345.6" in lines
    assert "p: –" not in lines


def test_a_long_text_folds_before_short_ones_do():
    table = Table("", ("recipe", "decision"), (("/a/very/long/path" * 9, "worse: confirmed"),))
    assert "worse: confirmed" in shown(table, 80)


def test_a_table_without_rows_is_no_error():
    assert "recipe" in shown(Table("", HEADERS, ()), 20) + shown(Table("", HEADERS, ()), 160)
