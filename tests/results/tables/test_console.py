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


def test_equal_columns_are_left_out_before_a_word_is_broken():
    rows = [(f"digits/short-{number}", "3", "97.22 ± 0.69", "", "same") for number in range(2)]
    text = shown(Table("", ("recipe", "trials", "accuracy %", "", "verdict"), rows), 40)
    assert "trials: 3" in text
    assert "digits/short-0" in text.split()


def test_an_equal_column_without_a_heading_is_left_out():
    rows = [(f"digits/short-{number}", "?", "undecided") for number in range(2)]
    assert "?" not in shown(Table("", ("recipe", "", "verdict"), rows), 20)


def test_a_long_text_folds_before_short_ones_do():
    table = Table("", ("recipe", "decision"), (("/a/very/long/path" * 9, "worse: confirmed"),))
    assert "worse: confirmed" in shown(table, 80)


def test_a_table_without_rows_is_no_error():
    assert "recipe" in shown(Table("", HEADERS, ()), 20) + shown(Table("", HEADERS, ()), 160)


REASON = "47 more trials per side (about 9.1 s) would decide if the change stays the same; with the limit time:5% …"


def judged(*verdicts):
    rows = tuple((f"mnist/{place}", "0.09779 s (20 pairs)", verdict) for place, verdict in enumerate(verdicts))
    return Table("comparison", ("recipe", "before", "verdict"), rows, "A caption.")


def test_long_reasons_are_numbered_below_the_table():
    text = shown(judged(f"undecided: {REASON}", "same", f"undecided: {REASON}", "not comparable: data"), 60)
    assert text.count("undecided (1)") == 2
    assert "not comparable (2)" in text
    assert f"(1) {REASON} (2) data A caption." in " ".join(text.split())


def test_short_reasons_stay_in_their_row():
    text = shown(judged(f"undecided: {REASON}", "not comparable: data"), 120)
    assert "not comparable: data" in text
    assert "(1)" not in text


def test_a_reason_is_in_every_width_and_in_markdown():
    table = judged(f"undecided: {REASON}", "worse")
    assert all(REASON in " ".join(shown(table, width).split()) for width in range(50, 140, 10))
    assert "undecided: 47 more trials" in table.markdown()
