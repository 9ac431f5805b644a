"""Tables say what the records say, on the console and as Markdown, and nothing in a record is taken for markup."""

import io
from pathlib import Path

import pytest
import rich.console

from results.record import Lap, Run
from results.tables.runs import summary_tables, trials_table
from results.tables.table import Table
from tests.results.builders import laps, missed, record, trial


def run(*trials, **changes) -> Run:
    seeds = [one.seed for one in trials] or [0]
    return Run(record(seeds=seeds, **changes), trials, Path("runs/x"))


def row(one: Run, protocol: str = "strict") -> dict[str, str]:
    (table,) = summary_tables([one], protocol)
    return dict(zip(table.headers, table.rows[0], strict=True))


def timed(seed: int, seconds: float, **changes):
    return trial(seed, laps=[Lap(name="train", epoch=epoch, seconds=seconds) for epoch in (1, 2, 3)], **changes)


def console(table: Table) -> str:
    out = rich.console.Console(width=250, record=True, file=io.StringIO())
    out.print(table.rich())
    return out.export_text()


def test_trials_one_a_row():
    broken = trial(2, outcome="failed", reason="out of memory", accuracy=None, epochs=(), laps=())
    table = trials_table(run(trial(0), missed(1), broken), "dawnbench")
    assert table.rows == (
        ("0", "95.00", "reached", "2", "33,030", "333,000"),
        ("1", "90.00", "missed", "–", "–", "333,000"),
        ("2", "–", "failed: out of memory", "–", "–", "–"),
    )
    assert table.title == "cifar10/airnet, run abcd1234, NVIDIA H200"


def test_summary_of_planted_trials():
    trials = [timed(seed, seconds, accuracy=0.94 + 0.001 * seed) for seed, seconds in enumerate((1, 2, 4, 3, 5, 6))]
    assert row(run(*trials)) == {
        "recipe": "cifar10/airnet",
        "trials": "6",
        "accuracy %": "94.25 ± 0.20",
        "reached target": "6 of 6 (94%)",
        "p": "0.011",
        "time to target s": "7.000 [2.000, 12.00]",
        "total s": "10.50 [3.000, 18.00]",
        "machine": "NVIDIA H200",
    }


def test_a_time_is_over_the_trials_that_the_rule_names():
    slow = timed(1, 1000, outcome="missed", accuracy=0.939)
    lost = timed(2, 1, outcome="diverged", reason="loss is NaN", accuracy=0.1, epochs=())
    fast = timed(0, 1, accuracy=0.96)
    both = row(run(fast, slow))
    assert (both["time to target s"], both["total s"]) == ("2.000", "1,502 (3.000 to 3,000)")
    assert row(run(fast, slow, lost))["total s"] == "–", "the mean accuracy is under the target"
    assert row(run(fast, slow, lost))["time to target s"] == "2.000"
    assert row(run(slow))["time to target s"] == row(run(slow))["total s"] == "–"


def test_trials_without_an_accuracy_are_not_left_out_silently():
    broken = timed(2, 1, outcome="failed", reason="out of memory", accuracy=None, epochs=())
    cells = row(run(timed(0, 1), timed(1, 1, accuracy=0.96), broken))
    assert cells["accuracy %"] == "95.50 ± 6.35 (2 of 3)"
    assert (cells["reached target"], cells["p"], cells["total s"]) == ("2 of 3 (94%)", "–", "–")


def test_trials_without_that_time_are_not_left_out_silently():
    first = trial(0, laps=(*laps(), Lap(name="total", seconds=1e6)))
    assert row(run(first, trial(1), trial(2)), "cold")["total s"] == "1,000,000 (1 of 3)"
    assert row(run(trial(1)), "cold")["total s"] == "–"


def test_a_run_that_is_under_way():
    empty = row(Run(record(), (), Path()))
    assert empty["trials"] == "0 of 3"
    assert {empty[key] for key in ("reached target", "accuracy %", "p", "time to target s", "total s")} == {"–"}
    assert row(Run(record(), (timed(0, 1),), Path()))["trials"] == "1 of 3"


def test_smoke_tests_have_a_table_of_their_own():
    real, smoke = run(timed(0, 1)), run(timed(0, 7), smoke_test=True, recipe_name="toy")
    tables = summary_tables([smoke, real], "strict")
    assert [table.title.split(" (")[0] for table in tables] == ["strict time", "strict time"]
    assert [[cells[0] for cells in table.rows] for table in tables] == [["cifar10/airnet"], ["toy"]]
    assert ["smoke test" in table.title for table in tables] == [False, True]
    assert "smoke test" in trials_table(smoke, "strict").title
    assert summary_tables([], "strict") == []


@pytest.mark.parametrize("table", [trials_table, lambda one, protocol: summary_tables([one], protocol)])
def test_an_unknown_protocol_is_refused(table):
    with pytest.raises(ValueError, match="protocol='mlperf' is unknown"):
        table(run(trial()), "mlperf")


def test_a_summary_fits_on_a_narrow_console():
    """Every number stays in one piece, and the last column is there."""
    trials = [timed(seed, 123.4567 + seed, accuracy=0.94 + 0.001 * seed) for seed in range(6)]
    one = run(*trials, recipe_name="cifar10/ladder/07-label-smoothing", world_size=8)
    (table,) = summary_tables([one], "airbench")
    out = rich.console.Console(width=80, file=io.StringIO())
    out.print(table.rich())
    shown = out.file.getvalue()
    assert max(map(len, shown.splitlines())) <= 80
    for word in ("accuracy", "total", "94.25", "±", "251.9", "[246.9,", "377.9", "0.011", "NVIDIA", "H200"):
        assert word in shown


EVIL = "[red]a|b[/red] <img> `x` *y* \\ \x1b[31m \r\n z"


def test_text_from_records_is_only_text():
    table = trials_table(run(trial(0, outcome="failed", reason=EVIL), recipe_name=EVIL), "strict")
    shown = console(table)
    assert shown.count("[red]a|b[/red] <img> `x` *y* \\") == 2
    assert "\x1b" not in shown
    lines = table.markdown().splitlines()
    body = next(line for line in lines if line.startswith("| 0 |"))
    assert r"failed: \[red\]a\|b\[/red\] \<img\> \`x\` \*y\* \\  \[31m" in body
    assert body.replace(r"\|", "").count("|") == len(table.headers) + 1
    assert "\x1b" not in table.markdown()


def test_both_forms_hold_every_cell():
    table = trials_table(run(trial(0), missed(1)), "airbench")
    shown, written = console(table), table.markdown()
    for cell in [*table.headers, *(cell for cells in table.rows for cell in cells)]:
        assert cell in shown
        assert cell in written
    assert [len(line.split(" | ")) for line in written.splitlines() if line.startswith("|")] == [6] * 4
