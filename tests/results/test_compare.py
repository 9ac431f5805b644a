"""Verdicts: every one of them from planted samples, and none of them without the other condition."""

from dataclasses import replace

import numpy as np
import pytest

from results.compare import compare, status
from results.facts import FACTS
from results.format import duration
from results.literature import published
from results.rules import rules
from results.samples import of_figure
from results.statistics import Moments, difference_of_moments
from tests.results.builders import STEADY, row, samples, times_of


@pytest.mark.parametrize(
    ("factor", "verdict", "mark"),
    [(1.05, "worse", "+"), (0.95, "better", "-"), (1.0, "same", "="), (1.01, "same", "=")],
)
def test_a_change_counts_if_it_is_significant_and_at_least_the_limit(factor, verdict, mark):
    found = row(samples(STEADY), samples(times_of(factor)))
    assert (found.verdict, found.mark, found.reason) == (verdict, mark, "")
    assert found.change.size == pytest.approx(factor)
    assert found.change.significant() == (factor != 1)


def test_a_large_change_that_may_be_chance_is_undecided():
    noisy = [0.5, 1.5, 1.0, 0.8, 1.3, 0.6, 1.4, 1.0]
    found = row(samples(noisy), samples([1.05 * second for second in noisy]))
    assert found.verdict == "undecided"
    more = found.change.needed(0.02) - 8
    assert found.reason.startswith(f"{more} more trials per side (about {duration(2.02 * more)}) would decide if the")


def test_no_significant_change_is_not_yet_the_same():
    """The interval reaches over the limit, so that a change of its size is not excluded."""
    generator = np.random.default_rng(2)
    found = row(samples(generator.lognormal(0, 0.03, 8)), samples(generator.lognormal(0, 0.03, 8)))
    assert not found.change.significant()
    assert found.verdict == "undecided"


def test_so_few_trials_that_no_p_could_be_small_enough():
    found = row(samples([1.0, 1.001, 0.999]), samples([2.0, 2.001, 1.999]))
    assert (found.verdict, found.change.interval) == ("undecided", None)
    assert found.reason == "too few trials to decide: train at least 1 more trial per side (about 3 s)"
    assert row(samples([1.0]), samples([2.0])).reason.endswith("at least 3 more trials per side (about 9 s)")


def test_a_run_without_a_trial_says_nothing_of_the_others():
    """It was broken off before its first trial: no pair is missing, and its recipe does not count."""
    sides = [samples(STEADY, recipe=name, interleaved="1") for name in "ab"]
    broken_off = samples([], recipe="a", interleaved="2", facts=dict.fromkeys(FACTS, "as ever") | {"recipe": "h0"})
    assert compare([sides[0], broken_off], [sides[1]])[0].change.paired
    (alone, *_) = compare([broken_off], [sides[1]], across=["recipe"])
    assert alone.reason == "before: no trial has ended"


def test_recipes_on_one_side_alone_are_left_out_and_none_in_common_is_refused():
    extra = samples(STEADY, recipe="b")
    assert {one.recipe for one in compare([samples(STEADY), extra], [samples(STEADY)])} == {"cifar10/airnet"}
    with pytest.raises(ValueError, match="no recipe in common: b, cifar10/airnet on one, c on the other"):
        compare([samples(STEADY), extra], [samples(STEADY, recipe="c")])


@pytest.mark.parametrize("folder", ["runs", "../{}/runs", "{}/runs"], ids=["alike", "relative", "absolute"])
def test_a_run_is_not_compared_with_itself(tmp_path, monkeypatch, folder):
    """However its directory is written."""
    monkeypatch.chdir(tmp_path)
    same = folder.format(tmp_path if folder.startswith("{") else tmp_path.name)
    with pytest.raises(ValueError, match="cannot be compared with itself"):
        compare([samples(STEADY, origin="runs/a")], [samples(STEADY, origin=f"{same}/a")])


def test_a_run_that_misses_its_target_has_no_total_time():
    low = samples(times_of(0.5), accuracy=(0.93,) * 8, reached=0)
    found = row(samples(STEADY), low)
    assert found.verdict == "not comparable"
    assert found.reason == "after: mean accuracy 93% misses the target 94%"
    assert row(samples(STEADY), low, "accuracy").verdict == "worse"


def test_a_trial_that_failed_is_never_left_out_silently():
    broken = samples([None, *STEADY[1:]], accuracy=(None, *(0.95,) * 7), reached=7, unfinished=1)
    for metric in ("time", "accuracy"):
        assert row(samples(STEADY), broken, metric).reason == "after: 1 of 8 trials diverged or failed"
    assert row(broken, samples(STEADY)).reason.startswith("before: 1 of 8")
    assert row(samples(STEADY), samples([])).reason == "after: no trial has ended"


def test_accuracy_is_judged_by_points():
    generator = np.random.default_rng(0)
    before = samples([1.0] * 40, accuracy=tuple(generator.normal(0.95, 0.001, 40)))
    better = samples([1.0] * 40, accuracy=tuple(generator.normal(0.953, 0.001, 40)))
    assert row(before, better, "accuracy").verdict == "better"
    assert row(better, before, "accuracy").verdict == "worse"
    assert row(before, better, "accuracy", rules=rules(["accuracy:0.5"])).verdict == "same"


def test_other_metrics_are_compared_where_a_rule_asks_for_them():
    values = dict.fromkeys(("time", "time-to-target", "accuracy"), tuple(STEADY)) | {"accuracy": (0.95,) * 8}
    before = samples(STEADY, values=values | {"peak-memory": (100.0,) * 8})
    after = samples(STEADY, values=values | {"peak-memory": (110.0,) * 8})
    assert [one.metric.name for one in compare([before], [after])] == ["time", "time-to-target", "accuracy"]
    assert row(before, after, "peak-memory", rules=rules(["peak-memory:5%"])).verdict == "worse"


REAL = dict.fromkeys(FACTS, "as ever") | {"smoke test": "no"}


def test_published_figures_stand_beside_ours_and_are_not_ranked():
    figure = next(iter(published().values()))
    ours = samples(STEADY, recipe=figure.recipe, facts=REAL)
    found = row(of_figure(figure), ours)
    assert found.verdict == "not comparable"
    assert f"machine: {figure.hardware} → as ever" in found.reason
    assert found.before.value == figure.seconds
    asked = row(of_figure(figure), ours, across=("machine", "protocol"))
    assert (asked.verdict, asked.reason) == ("undecided", "a published figure is one number without a spread")


def accuracy_row(figure, ours, facts=REAL):
    own = samples([1.0] * len(ours), recipe=figure.recipe, accuracy=tuple(ours), facts=facts)
    return row(of_figure(figure), own, "accuracy", across=["machine"])


def test_a_smoke_test_is_not_compared_with_a_published_figure():
    found = accuracy_row(published()["cifar10/hiverge"], [0.17, 0.18], REAL | {"smoke test": "yes"})
    assert (found.verdict, found.reason) == ("not comparable", "smoke test: no → yes")


def test_a_published_accuracy_is_compared_by_its_interval():
    figure = published()["cifar10/hiverge"]
    ours = list(np.random.default_rng(0).normal(0.9402, 0.0013, 50))
    found = accuracy_row(figure, ours)
    theirs = Moments(figure.accuracy, figure.accuracy_std, figure.runs)
    expected = difference_of_moments(theirs, Moments(np.mean(ours), np.std(ours, ddof=1), 50))
    assert found.change.interval == pytest.approx(expected.interval)
    assert found.change.p == pytest.approx(expected.p)
    assert found.verdict == "same"
    assert accuracy_row(figure, [one - 0.005 for one in ours]).verdict == "worse"


def test_a_published_accuracy_without_a_spread_is_taken_to_spread_as_ours():
    figure = published()["cifar10/hiverge"].model_copy(update={"accuracy_std": None, "runs": None})
    ours = list(np.random.default_rng(0).normal(0.9402, 0.0013, 50))
    found = accuracy_row(figure, ours)
    spread = np.std(ours, ddof=1)
    assert found.change.interval[1] - found.change.size == pytest.approx(
        2.0096 * spread * np.sqrt(1 + 1 / 50), rel=1e-4
    )
    assert found.verdict == "undecided", "one run of theirs"
    assert found.reason == "more trials of your own may decide; the published ones stay as they are"
    assert accuracy_row(figure, [0.94]).reason == "a published figure is one number without a spread"


def test_what_else_changed_is_one_note():
    before, after = (samples(STEADY, notes={"commit": "f", "torch": torch}) for torch in ("2.13.0", "2.14.0"))
    assert row(before, after).notes[0] == "also changed: torch 2.13.0 → 2.14.0"
    assert not any("also changed" in note for note in row(before, replace(before, origin="another")).notes)


@pytest.mark.parametrize(
    ("factor", "metrics", "expected"),
    [(1.05, ["time"], 1), (0.95, ["time"], 0), (1.0, ["time"], 0), (1.05, ["accuracy"], 0), (1.0, [], 2)],
)
def test_exit_status(factor, metrics, expected):
    found = compare([samples(STEADY)], [samples(times_of(factor))])
    assert status(found, metrics) == expected


def test_undecided_is_not_a_pass_and_worse_outweighs_it():
    few = compare([samples([1.0] * 2)], [samples([1.0] * 2)])
    assert status(few, ["time"]) == 2
    assert status([*few, *compare([samples(STEADY)], [samples(times_of(1.1))])], ["time"]) == 1
