"""Verdicts: every one of them from planted samples, and none of them without the other condition."""

import numpy as np
import pytest

from results.compare import compare, status
from results.literature import published
from results.rules import Rule, parse, rules
from results.samples import FACTS, of_figure
from tests.results.builders import samples

STEADY = [1.0, 1.001, 0.999, 1.002, 0.998, 1.0005, 0.9995, 1.0015]


def times_of(factor):
    return [factor * second for second in STEADY]


def row(before, after, metric="time", **given):
    found = compare([before], [after], **given)
    return next(one for one in found if one.metric == metric)


@pytest.mark.parametrize(
    ("factor", "verdict", "mark"),
    [(1.05, "slower", "+"), (0.95, "faster", "-"), (1.0, "same", "="), (1.01, "same", "=")],
)
def test_a_change_counts_if_it_is_significant_and_large_enough(factor, verdict, mark):
    found = row(samples(STEADY), samples(times_of(factor)))
    assert (found.verdict, found.mark) == (verdict, mark)
    assert found.change.size == pytest.approx(factor)
    assert found.change.significant() == (factor != 1)


def test_a_large_change_by_chance_does_not_count():
    noisy = [0.5, 1.5, 1.0, 0.8, 1.3, 0.6, 1.4, 1.0]
    found = row(samples(noisy), samples([1.05 * second for second in noisy]))
    assert found.verdict == "not enough runs"
    n = found.change.needed
    assert found.reason == f"{n - 8} more trials a side would do"


def test_so_few_runs_that_no_p_could_be_small_enough():
    found = row(samples([1.0, 1.001, 0.999]), samples([2.0, 2.001, 1.999]))
    assert found.verdict == "not enough runs"
    assert found.reason == "1 more trials a side would do"
    assert row(samples([1.0]), samples([2.0])).reason == "3 more trials a side would do"


@pytest.mark.parametrize("fact", FACTS)
def test_what_differs_is_not_comparable_unless_asked_for(fact):
    other = samples(times_of(1.1), facts={name: "other" if name == fact else "as ever" for name in FACTS})
    found = row(samples(STEADY), other)
    assert (found.verdict, found.mark) == ("not comparable", "x")
    assert found.reason.startswith(f"{fact}: as ever → other")
    assert found.change is None
    assert row(samples(STEADY), other, across=[fact]).verdict == "slower"


def test_another_recipe_of_one_name_shows_the_knobs_that_changed():
    facts = dict.fromkeys(FACTS, "as ever")
    before = samples(STEADY, facts=facts | {"recipe": "aaaa"}, knobs={"epochs": 10, "optimizer": {"lr": 0.1, "b": 1}})
    after = samples(STEADY, facts=facts | {"recipe": "bbbb"}, knobs={"epochs": 9, "optimizer": {"lr": 0.2, "b": 1}})
    assert row(before, after).reason == "recipe: aaaa → bbbb (epochs 10 → 9, optimizer.lr 0.1 → 0.2)"


def test_two_recipes_by_name_are_compared_because_that_is_the_question():
    facts = dict.fromkeys(FACTS, "as ever")
    before, after = samples(STEADY), samples(times_of(0.9), recipe="cifar10/other", facts=facts | {"recipe": "other"})
    found = row(before, after)
    assert (found.recipe, found.verdict) == ("cifar10/airnet → cifar10/other", "faster")


def test_recipes_on_one_side_alone_are_left_out_and_none_in_common_is_refused():
    extra = samples(STEADY, recipe="b")
    assert {one.recipe for one in compare([samples(STEADY), extra], [samples(STEADY)])} == {"cifar10/airnet"}
    with pytest.raises(ValueError, match="no recipe in common: b, cifar10/airnet on one, c on the other"):
        compare([samples(STEADY), extra], [samples(STEADY, recipe="c")])


def test_a_run_is_not_compared_with_itself():
    one = samples(STEADY)
    with pytest.raises(ValueError, match="can not be compared with itself"):
        compare([one], [one])


def test_trials_that_took_turns_are_compared_with_their_neighbours():
    drift = [1.1**index for index in range(8)]
    before, after = samples(drift, turns="t"), samples(times_of_drift(drift), turns="t")
    found = row(before, after)
    assert found.verdict == "slower"
    assert found.change.paired
    assert not any("turns" in note for note in found.notes)
    apart = row(samples(drift, turns="t"), samples(times_of_drift(drift), turns="u"))
    assert (apart.verdict, apart.change.paired) == ("not enough runs", False)
    assert any("did not take turns" in note for note in apart.notes)


def times_of_drift(drift):
    return [1.03 * second * steady for second, steady in zip(drift, STEADY, strict=True)]


def test_pairs_are_found_by_seed_and_a_missing_neighbour_is_left_out():
    before = samples([1.0, 2.0, 4.0], turns="t", seeds=(0, 1, 2))
    after = samples([4.0, 1.0], turns="t", seeds=(2, 0))
    assert row(before, after).change.size == 1
    assert row(before, after).change.needed is not None


def test_a_schedule_that_misses_its_target_has_no_time():
    low = samples(times_of(0.5), accuracy=(0.93,) * 8, reached=0)
    found = row(samples(STEADY), low)
    assert found.verdict == "not comparable"
    assert found.reason == "after: mean accuracy 93.00% misses the target 94%"
    assert row(samples(STEADY), low, "accuracy").verdict == "lower"


def test_a_trial_that_diverged_is_never_left_out_silently():
    broken = samples(STEADY, accuracy=(None, *(0.95,) * 7), schedule=(None, *STEADY[1:]), reached=7)
    for metric in ("time", "accuracy"):
        assert row(samples(STEADY), broken, metric).reason == "after: 1 of 8 trials diverged or failed"
    assert row(broken, samples(STEADY)).reason.startswith("before: 1 of 8")
    assert row(samples(STEADY), samples([])).reason == "after: no trial has ended"


def test_accuracy_is_judged_by_points():
    generator = np.random.default_rng(0)
    before = samples([1.0] * 40, accuracy=tuple(generator.normal(0.95, 0.001, 40)))
    better = samples([1.0] * 40, accuracy=tuple(generator.normal(0.953, 0.001, 40)))
    assert row(before, better, "accuracy").verdict == "higher"
    assert row(better, before, "accuracy").verdict == "lower"
    assert row(before, better, "accuracy", rules=rules(["accuracy:0.5"])).verdict == "same"


def test_published_figures_stand_beside_ours_and_are_not_ranked():
    figure = next(iter(published().values()))
    ours = samples(STEADY, recipe=figure.recipe)
    found = row(of_figure(figure), ours)
    assert found.verdict == "not comparable"
    assert f"machine: {figure.hardware} → as ever" in found.reason
    assert found.before.value == figure.seconds
    asked = row(of_figure(figure), ours, across=("machine", "protocol"))
    assert (asked.verdict, asked.reason) == ("not enough runs", "a published figure is one number without a spread")


def test_versions_and_commits_that_differ_are_told():
    other = samples(STEADY, notes={"commit": "e" * 12, "torch": "2.14"})
    assert row(samples(STEADY), other).notes[:2] == (f"commit {'f' * 12} → {'e' * 12}", "torch unknown → 2.14")


@pytest.mark.parametrize(
    ("factor", "metrics", "expected"),
    [(1.05, ["time"], 1), (0.95, ["time"], 0), (1.0, ["time"], 0), (1.05, ["accuracy"], 0), (1.0, [], 2)],
)
def test_exit_status(factor, metrics, expected):
    found = compare([samples(STEADY)], [samples(times_of(factor))])
    assert status(found, metrics) == expected


def test_what_can_not_be_decided_is_not_a_pass_and_worse_outweighs_it():
    few = compare([samples([1.0] * 2)], [samples([1.0] * 2)])
    assert status(few, ["time"]) == 2
    assert status([*few, *compare([samples(STEADY)], [samples(times_of(1.1))])], ["time"]) == 1


def test_a_rule_as_a_person_writes_it():
    assert parse("time:5%") == Rule("time", 0.05)
    assert parse("time-to-target:.5%") == Rule("time-to-target", 0.005)
    assert parse("accuracy:0.1") == Rule("accuracy", 0.001)


@pytest.mark.parametrize("text", ["time", "time:5", "time:0%", "time:-5%", "accuracy:1%", "speed:5%", "", "time:5%%"])
def test_what_is_no_rule_is_refused(text):
    with pytest.raises(ValueError, match="is no rule: say time:5%"):
        parse(text)
    with pytest.raises(ValueError, match="two rules for one metric"):
        rules(["time:5%", "time:6%"])


def test_an_unknown_fact_is_refused():
    with pytest.raises(ValueError, match="across=weather: say one of recipe"):
        compare([samples(STEADY)], [samples(STEADY)], across=["weather"])
