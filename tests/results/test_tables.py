"""Tables say what the records say, on the console and as Markdown, and nothing in a record is taken for markup."""

import io
from pathlib import Path

import pytest
import rich.console

from results.record import Lap, Run
from results.tables import Table, summary_tables, trials_table
from tests.results.builders import laps, missed, record, trial


def run(*trials, **changes) -> Run:
    seeds = [one.seed for one in trials] or [0]
    return Run(record(seeds=seeds, **changes), trials, Path("runs/x"))


def row(one: Run, protocol: str = "record") -> dict[str, str]:
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
        ("0", "95.00", "reached", "2", "33030.0", "333030.0"),
        ("1", "90.00", "missed", "–", "–", "333030.0"),
        ("2", "–", "failed: out of memory", "–", "–", "–"),
    )
    assert table.title == "cifar10/airnet, run abcd1234, NVIDIA H200"


def test_summary_of_planted_trials():
    trials = [timed(seed, seconds, accuracy=0.94 + 0.001 * seed) for seed, seconds in enumerate((1, 2, 4, 3, 5))]
    assert row(run(*trials)) == {
        "recipe": "cifar10/airnet",
        "trials": "5",
        "accuracy %": "94.20 ± 0.20",
        "reached target": "5 of 5 (94.00%)",
        "p": "0.024",
        "time to target s": "6.000 [2.000, 10.000]",
        "schedule s": "9.000 [3.000, 15.000]",
        "machine": "NVIDIA H200",
    }


def test_a_miss_is_in_no_time():
    slow = timed(1, 1000, outcome="missed", accuracy=0.939)
    lost = timed(2, 1, outcome="diverged", reason="loss is NaN", accuracy=0.1, epochs=())
    fast = timed(0, 1, accuracy=0.96)
    assert row(run(fast, slow))["time to target s"] == "2.000"
    assert row(run(fast, slow))["schedule s"] == "3.000"
    assert row(run(fast, slow, lost))["schedule s"] == "missed"  # the mean accuracy is under the target
    assert row(run(fast, slow, lost))["time to target s"] == "2.000"
    assert row(run(slow))["time to target s"] == row(run(slow))["schedule s"] == "missed"


def test_trials_without_an_accuracy_are_not_left_out_silently():
    broken = timed(2, 1, outcome="failed", reason="out of memory", accuracy=None, epochs=())
    cells = row(run(timed(0, 1), timed(1, 1, accuracy=0.96), broken))
    assert cells["accuracy %"] == "95.50 ± 6.35 (of 2 alone)"
    assert (cells["reached target"], cells["p"], cells["schedule s"]) == ("2 of 3 (94.00%)", "–", "missed")


def test_trials_without_that_time_are_not_left_out_silently():
    first = trial(0, laps=(*laps(), Lap(name="total", seconds=1e6)))
    assert row(run(first, trial(1), trial(2)), "cold")["schedule s"] == "1000000.0 (of 1 alone)"
    assert row(run(trial(1)), "cold")["schedule s"] == "–"


def test_a_run_that_is_under_way():
    empty = row(Run(record(), (), Path()))
    assert empty["trials"] == "0 of 3"
    assert {empty[key] for key in ("reached target", "accuracy %", "p", "time to target s", "schedule s")} == {"–"}
    assert row(Run(record(), (timed(0, 1),), Path()))["trials"] == "1 of 3"


def test_sample_runs_have_a_table_of_their_own():
    real, sample = run(timed(0, 1)), run(timed(0, 7), sample=True, recipe_name="toy")
    tables = summary_tables([sample, real], "record")
    assert [table.title.split(" (")[0] for table in tables] == ["record time", "record time"]
    assert [[cells[0] for cells in table.rows] for table in tables] == [["cifar10/airnet"], ["toy"]]
    assert "sample" not in tables[0].title
    assert "sample" in tables[1].title
    assert "sample" in trials_table(sample, "record").title
    assert summary_tables([], "record") == []


def test_an_unknown_protocol_is_refused():
    with pytest.raises(ValueError, match="protocol='mlperf' is unknown"):
        summary_tables([run(trial())], "mlperf")
    with pytest.raises(ValueError, match="protocol='mlperf' is unknown"):
        trials_table(run(trial()), "mlperf")


def test_a_summary_fits_on_a_narrow_console():
    """Every number stays in one piece, and the last column is there."""
    trials = [timed(seed, 123.4567 + seed, accuracy=0.94 + 0.001 * seed) for seed in range(5)]
    one = run(*trials, recipe_name="cifar10/ladder/07-label-smoothing", world_size=8)
    (table,) = summary_tables([one], "airbench")
    out = rich.console.Console(width=80, file=io.StringIO())
    out.print(table.rich())
    shown = out.file.getvalue()
    assert max(map(len, shown.splitlines())) <= 80
    for word in ("accuracy", "schedule", "94.20", "±", "250.9", "[246.9,", "376.4", "0.024", "NVIDIA", "H200"):
        assert word in shown


EVIL = "[red]a|b[/red] <img> `x` *y* \\ \x1b[31m \r\n z"


def test_text_from_records_is_only_text():
    table = trials_table(run(trial(0, outcome="failed", reason=EVIL), recipe_name=EVIL), "record")
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
