"""Comparisons as text."""

import csv
import io

import pytest

from results.compare import compare
from results.record import Run
from results.rules import rules
from results.sequential import nominal_levels
from results.statistics import reached_interval
from results.tables.comparison import as_csv, objects, of_pairs, table
from tests.results import builders
from tests.results.builders import samples

STEADY = [1.0, 1.001, 0.999, 1.002, 0.998, 1.0005, 0.9995, 1.0015]


def compared(factor=1.05, chosen=None, **changes):
    return compare([samples(STEADY)], [samples([factor * one for one in STEADY], **changes)], chosen)


def rows(found):
    shown = table(found, "strict")
    return {row[1]: dict(zip(shown.headers, row, strict=True)) for row in shown.rows}


def test_a_time_shows_its_ratio_as_a_change_in_percent_with_the_interval():
    row = rows(compared())["time"]
    assert (row["before"], row["after"]) == ("1.000 s (n = 8)", "1.050 s (n = 8)")
    assert row["change"] == "+5.0% [+4.8%, +5.2%], p = 0.00016"
    assert (row[""], row["verdict"]) == ("+", "worse")


def test_interleaved_trials_are_pairs():
    sides = [samples([factor * one for one in STEADY], interleaved="t") for factor in (1.0, 1.05)]
    row = rows(compare(*([one] for one in sides)))["time"]
    assert (row["before"], row["after"]) == ("1.000 s (8 pairs)", "1.050 s (8 pairs)")
    assert row["change"].endswith(", paired")


def test_an_accuracy_shows_points_and_how_many_trials_reached_the_target():
    row = rows(compared(accuracy=tuple(0.93 + 1e-4 * (index % 2) for index in range(8)), reached=0))["accuracy"]
    assert row["before"] == "95.00% (n = 8), reached 8 of 8 [63%, 100%]"
    assert row["change"].startswith("-2.00 [-2.01, -1.99], p = ")


def test_the_limits_of_the_verdicts_are_stated():
    found = compared(chosen=rules(["accuracy:0.1", "time:5%"]))
    assert "Limits: time:5%, time-to-target:2%, accuracy:0.1." in table(found, "strict").caption
    assert [row["limit"] for row in objects(found, "strict")] == [0.05, 0.02, 0.001]


def test_what_is_not_comparable_says_why():
    row = rows(compared(accuracy=(0.93,) * 8, reached=0))["time"]
    assert (row["after"], row["change"], row[""]) == ("–", "–", "x")
    assert row["verdict"] == "not comparable: after: mean accuracy 93% misses the target 94%"


def test_the_notes_come_once_under_the_table():
    caption = table(compared(notes={"commit": "e" * 12}), "strict").caption
    assert caption.count("Note: also changed: commit") == caption.count("were not interleaved") == 1
    assert "strict protocol" in caption


def test_a_note_that_is_not_of_all_recipes_says_of_which():
    before = [samples(STEADY, recipe=name, notes={"torch": "2.13"}) for name in "abcde"]
    after = [samples(STEADY, recipe=name, notes={"torch": "2.14"}) for name in "abcd"]
    after.append(samples(STEADY, recipe="e", notes={"torch": "2.13"}))
    caption = table(compare(before, after), "strict").caption
    assert "Note on a, b, c and 1 more: also changed: torch 2.13 → 2.14." in caption
    assert "Note: the trials were not interleaved" in caption


def test_machines_read_the_same_numbers():
    found = compared(chosen=rules(["time:5%"]))
    read = objects(found, "strict")
    rows = list(csv.DictReader(io.StringIO(as_csv(found, "strict"))))
    assert [row["metric"] for row in read] == [row["metric"] for row in rows] == [one.metric.name for one in found]
    assert read[0]["change"] == float(rows[0]["change"]) == found[0].change.size
    assert (read[0]["verdict"], rows[0]["verdict"]) == (found[0].verdict, found[0].verdict)


def runs_with_p_of_0_03(tmp_path):
    """Three runs, of which the second and the third differ from the first in accuracy, each with p = 0.03."""
    found = []
    for number, better in enumerate((0.0, 0.0056, 0.0056)):
        values = [0.94 + better + 0.01 * (index % 2) for index in range(10)]
        trials = tuple(builders.trial(seed, accuracy=value) for seed, value in enumerate(values))
        record = builders.record(recipe_name=f"a{number}", recipe_hash=f"{number}", seeds=list(range(10)))
        found.append(Run(record, trials, tmp_path / str(number)))
    return found


def verdict_on_accuracy(shown):
    return [row[-1].partition(":")[0] for row in shown.rows if row[1] == "accuracy"]


def test_several_comparisons_share_the_level(tmp_path):
    first, *others = runs_with_p_of_0_03(tmp_path)
    alone = of_pairs([(first, others[0])], "strict", {"recipe"})
    both = of_pairs([(first, other) for other in others], "strict", {"recipe"})
    assert verdict_on_accuracy(alone) == ["better"]
    assert verdict_on_accuracy(both) == ["undecided", "undecided"]
    assert "divided" not in alone.caption
    assert both.caption.endswith("A change is significant if p is at most 0.025: 0.05, divided by the 2 comparisons.")


def test_the_share_that_reached_the_target_has_an_interval_at_the_level_of_the_look():
    looks = (8, 16, 40)
    before, after = (samples([factor * one for one in STEADY] * 2, looks=looks) for factor in (1.0, 1.05))
    level = nominal_levels(looks)[1]
    low, _ = reached_interval(16, 16, level=level)
    assert f"reached 16 of 16 [{100 * low:.0f}%, 100%]" in rows(compare([before], [after]))["accuracy"]["before"]
    assert low == pytest.approx((level / 2) ** (1 / 16))
