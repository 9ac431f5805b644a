"""Verdicts: every one of them from planted samples, and none of them without the other condition."""

from dataclasses import replace

import numpy as np
import pytest

from results.compare import compare, decide, status
from results.facts import FACTS
from results.format import duration
from results.literature import published
from results.metrics import METRICS
from results.rules import rules
from results.samples import of_figure
from results.statistics import Change, Moments, difference_of_moments
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


def over_hosts(factors, trials, change=1.0, within=0.0, seed=0):
    """A side whose hosts each train so many trials, in which they are slower by their factors."""
    noise = np.random.default_rng(seed).normal(0, within, sum(trials))
    times = change * np.repeat(factors, trials) * np.exp(noise)
    return samples(times.tolist(), hosts=tuple(np.repeat([f"host {n}" for n in range(len(factors))], trials).tolist()))


FACTORS = [1.0, 1.01, 1.02, 1.03, 1.04, 1.05, 1.06, 1.07]


def test_hosts_that_train_both_sides_are_pairs_whatever_their_numbers_of_trials():
    before = over_hosts(FACTORS, [1, 1, 1, 1, 5, 5, 5, 5])
    same, slower = (over_hosts(FACTORS, [5, 5, 5, 5, 1, 1, 1, 1], change) for change in (1.0, 1.05))
    assert row(before, same).verdict == "same"
    found = row(before, slower)
    assert (found.verdict, found.change.paired, found.change.n) == ("worse", True, 8)
    assert found.change.size == pytest.approx(1.05)


def on_other_hosts(side):
    return replace(side, hosts=tuple(f"other {host}" for host in side.hosts))


def test_hosts_of_one_side_alone_are_independent_samples():
    before = over_hosts(FACTORS, [3] * 8)
    after = on_other_hosts(over_hosts(FACTORS, [1, 1, 1, 1, 5, 5, 5, 5], 1.2))
    found = row(before, after)
    assert (found.verdict, found.change.paired, found.change.n) == ("worse", False, 8)
    assert (found.before.n, found.after.n) == (8, 8)
    assert found.after.value / found.before.value == pytest.approx(1.2)


def test_few_hosts_decide_nothing_on_times_and_all_on_accuracies():
    before, after = over_hosts([1.0, 1.05], [10, 10]), over_hosts([1.1, 1.15, 1.2], [7, 7, 7])
    found = row(before, after)
    assert (found.verdict, found.reason.partition(",")[0]) == ("undecided", "the samples are 2 and 3 hosts")
    assert row(before, after, "accuracy").verdict == "same"


def test_interleaved_trials_of_one_host_are_pairs_whatever_the_hosts():
    sides = [over_hosts([1.0, 1.05], [6, 6], change) for change in (1.0, 1.05)]
    before, after = (replace(side, interleaved="together") for side in sides)
    found = row(before, after)
    assert (found.verdict, found.change.paired, found.change.n) == ("worse", True, 12)
    swapped = replace(after, hosts=after.hosts[::-1])
    assert row(before, swapped).change.n == 2


def test_single_hosts_that_differ_are_noted():
    note = "the sides were trained on different hosts: a difference between the hosts counts as a change"
    first, second = (samples(STEADY, hosts=(host,) * 8) for host in "ab")
    assert (row(first, second).verdict, note in row(first, second).notes) == ("same", True)
    assert note not in row(first, samples(STEADY, hosts=("a",) * 8)).notes
    assert note not in row(first, samples(STEADY)).notes


def test_records_without_a_host_are_compared_by_trials():
    several, unknown = over_hosts([1.0, 1.001], [4, 4]), samples(times_of(1.05))
    assert (row(several, unknown).verdict, row(several, unknown).change.n) == ("worse", 8)


@pytest.mark.parametrize("numbers", [([4] * 6, [2] * 6), ([1, 1, 1, 5, 5, 5], [5, 1, 1, 1, 1, 1])])
@pytest.mark.parametrize("are_the_same", [True, False])
def test_differences_between_hosts_are_no_change(numbers, are_the_same):
    """At most 5% of 400 comparisons without a change, and three standard errors of that number."""
    generator, false = np.random.default_rng(1), 0
    for seed in range(400):
        factors = np.exp(generator.normal(0, 0.03, (2, 6)))
        before = over_hosts(factors[0], numbers[0], 1.0, 0.02, 2 * seed)
        after = over_hosts(factors[0 if are_the_same else 1], numbers[1], 1.0, 0.02, 2 * seed + 1)
        false += row(before, after if are_the_same else on_other_hosts(after)).verdict in ("worse", "better")
    assert false <= 33


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


def test_a_small_significant_change_is_the_same_only_if_its_interval_is_inside_the_limit():
    metric = METRICS["time"]
    assert decide(Change(1.01, (1.005, 1.015), 0.001, 50), metric, 0.02) == ("same", "")
    assert decide(Change(1.015, (1.005, 1.025), 0.001, 50), metric, 0.02)[0] == "undecided"
    assert decide(Change(1.02, (1.005, 1.035), 0.001, 50), metric, 0.02) == ("worse", "")


def test_a_change_at_the_limit_cannot_be_decided_by_more_trials():
    verdict, reason = decide(Change(1.01999, (0.99, 1.05), 0.2, 50), METRICS["time"], 0.02)
    assert (verdict, reason.partition(";")[0]) == ("undecided", "the change is too close to the limit of 2%")
    assert reason.endswith("; with the limit time:3%, 400 more trials per side")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            Change(1.0, (0.96, 1.04), 0.9, 20),  # narrows as the square root: ± 1% from 320 trials on, 3% from 36
            "300 more trials per side (about 10 min) would decide if the change stays the same; "
            "with the limit time:3%, 16 more trials per side (about 32 s)",
        ),
        (
            Change(1.0, (0.985, 1.015), 0.9, 20),
            "25 more trials per side (about 50 s) would decide if the change stays the same; "
            "with the limit time:2% the verdict is same",
        ),
        (
            Change(1.0, (0.9, 1.1), 0.9, 20),  # 1% from 2,000 on, 5% from 80
            "1,980 more trials per side (about 66 min) would decide if the change stays the same; "
            "with the limit time:5%, 60 more trials per side (about 2 min)",
        ),
        (
            Change(1.0, (0.988, 1.012), 0.9, 20),
            "9 more trials per side (about 18 s) would decide if the change stays the same",
        ),
    ],
)
def test_what_would_decide_is_a_time_and_where_that_is_long_a_wider_limit(change, reason):
    assert decide(change, METRICS["time"], 0.01, seconds=2.0) == ("undecided", reason)


def test_accuracy_is_suggested_a_limit_in_points():
    reason = decide(Change(0.0, (-0.004, 0.004), 0.9, 20, none=0.0), METRICS["accuracy"], 0.001)[1]
    assert reason.endswith("; with the limit accuracy:0.3, 16 more trials per side")


@pytest.mark.parametrize(
    ("name", "change", "verdict"),
    [
        ("images-per-second", Change(1.1, (1.08, 1.12), 0.001, 9), "better"),
        ("images-per-second", Change(0.9, (0.88, 0.92), 0.001, 9), "worse"),
        ("peak-memory", Change(1.1, (1.08, 1.12), 0.001, 9), "worse"),
        ("accuracy", Change(0.004, (0.003, 0.005), 0.001, 9, none=0.0), "better"),
        ("accuracy", Change(-0.004, (-0.005, -0.003), 0.001, 9, none=0.0), "worse"),
    ],
)
def test_the_metric_knows_which_direction_is_worse(name, change, verdict):
    assert decide(change, METRICS[name], METRICS[name].limit)[0] == verdict


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


def test_interleaved_trials_are_compared_with_their_neighbours():
    drift = [1.1**index for index in range(8)]
    before, after = samples(drift, interleaved="t"), samples(times_of_drift(drift), interleaved="t")
    found = row(before, after)
    assert found.verdict == "worse"
    assert found.change.paired
    assert not any("interleaved" in note for note in found.notes)
    apart = row(samples(drift, interleaved="t"), samples(times_of_drift(drift), interleaved="u"))
    assert (apart.verdict, apart.change.paired) == ("undecided", False)
    assert any("were not interleaved" in note for note in apart.notes)
    assert any(note.startswith("before: the trials became 95% slower") for note in apart.notes)
    assert not any("became" in note for note in found.notes)


def test_pairs_show_times_whose_ratio_is_the_change():
    """Both sides slow down by half between the trials, and the later one of each pair takes 3% more."""
    drift = [1.5**index for index in range(8)]
    before, after = samples(drift, interleaved="t"), samples([*times_of_drift(drift[:7]), None], interleaved="t")
    found = row(before, after, "time-to-target")
    assert found.change.size == pytest.approx(1.03, abs=0.005)
    assert found.after.value / found.before.value == pytest.approx(found.change.size)
    assert (found.before.n, found.after.n) == (7, 7)
    assert found.before.value == pytest.approx(1.5**3, rel=0.01)


def times_of_drift(drift):
    return [1.03 * second * steady for second, steady in zip(drift, STEADY, strict=False)]


def test_pairs_are_found_by_seed_and_a_missing_neighbour_is_left_out():
    before = samples([1.0, 2.0, 4.0], interleaved="t", seeds=(0, 1, 2))
    after = samples([4.0, 1.0], interleaved="t", seeds=(2, 0))
    found = row(before, after).change
    assert (found.size, found.n, found.paired) == (1, 2, True)


def test_pairs_need_one_run_of_a_side_for_each_interleaving():
    a, b, c = (samples(times_of(factor), interleaved="t") for factor in (1.0, 1.02, 1.02))
    assert not compare([a], [b, c])[0].change.paired
    assert not compare([b, c], [a])[0].change.paired
    assert compare([a], [b])[0].change.paired


def test_pairs_are_compared_however_much_their_hosts_differ():
    before, after = over_hosts([1.0, 1.3], [6, 6]), over_hosts([1.0, 1.3], [6, 6], 1.05)
    assert row(before, after).verdict == "undecided", "two hosts"
    found = row(*(replace(side, interleaved="together") for side in (before, after)))
    assert (found.verdict, found.change.paired, found.change.n) == ("worse", True, 12)


def reaching(trials, of, seconds=1.0):
    """A side of which so many trials reach the target, after about `seconds`."""
    times = [seconds * (1 + 1e-3 * index) for index in range(trials)] + [None] * (of - trials)
    return samples([1.0] * of, to_target=times, reached=trials)


def test_a_time_to_target_that_significantly_fewer_trials_reach_is_worse():
    """However fast those are that do."""
    found = row(reaching(10, 10), reaching(4, 10, 0.8), "time-to-target")
    assert (found.verdict, found.change) == ("worse", None)
    assert found.reason == "4 of 10 trials reached the target, before 10 of 10 (p = 0.0054)"
    assert row(reaching(10, 10), reaching(0, 10), "time-to-target").verdict == "worse"
    assert row(reaching(10, 10), reaching(8, 10, 0.8), "time-to-target").verdict == "better"
    assert row(reaching(4, 10), reaching(10, 10), "time-to-target").verdict == "same"
    assert row(reaching(0, 10), reaching(0, 10), "time-to-target").verdict == "not comparable"


def test_both_tests_of_a_time_to_target_share_the_level():
    """With p = 0.032 a change of the times is significant alone, and not beside a test of how many reached."""
    times = [[1.0, 1.1, 1.2, 1.3, 1.4], [1.25, 1.45, 1.5, 1.6, 1.7]]
    whole = [samples([1.0] * 5, to_target=side) for side in times]
    part = [samples([1.0] * 6, to_target=[*side, None], reached=5) for side in times]
    first, second = (row(*sides, "time-to-target") for sides in (whole, part))
    assert first.change.p == second.change.p
    assert 0.025 < first.change.p < 0.05
    assert (first.verdict, second.verdict) == ("worse", "undecided")


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


def night(accuracy, seconds):
    """A run in which the seed decides accuracy and time to target, as it does where a training is deterministic."""
    reached = [a >= 0.94 for a in accuracy]
    times = [t if r else None for t, r in zip(seconds, reached, strict=True)]
    return samples([1.0] * len(times), accuracy=tuple(accuracy), to_target=times, reached=sum(reached))


def test_runs_that_repeat_seeds_say_no_more_than_one_of_them():
    random = np.random.default_rng(0)
    old, new = ([random.normal(0.941, 0.001, 20), random.choice([8.0, 9.0, 10.0], 20)] for _ in range(2))
    once, often = (compare([night(*old) for _ in range(nights)], [night(*new)]) for nights in (1, 5))
    for one, five in zip(once, often, strict=True):
        if one.metric.by_seed:
            assert (five.change, five.before.n) == (one.change, one.before.n)
            assert "trials of one seed in several runs count as one sample" in " ".join(five.notes)
            assert "one seed" not in " ".join(one.notes)
    reached = often[-1].before.reached
    assert (reached[1], often[-1].before.reached_by_seed) == (100, (reached[0] // 5, 20))


def test_runs_that_repeat_seeds_raise_no_false_alarms():
    """At most 5% of 200 comparisons without a change, and three standard errors of that number."""
    random, limits = np.random.default_rng(1), rules(["accuracy:0.001", "time-to-target:0.01%"])
    false = dict.fromkeys(METRICS, 0)
    for _ in range(200):
        old, new = ([random.normal(0.96, 0.001, 20), random.lognormal(0, 0.1, 20)] for _ in range(2))
        before = [night(old[0], old[1] * random.lognormal(0, 0.005, 20)) for _ in range(5)]
        for one in compare(before, [night(*new)], limits):
            false[one.metric.name] += one.verdict in ("worse", "better")
    assert max(false.values()) <= 19


def test_as_many_of_repeated_seeds_must_miss_as_of_single_ones():
    """15 of 20 after 19 of 20 is chance; after 95 of 100 trials of the same 20 seeds it is no less."""
    old, new = ([0.95] * reached + [0.93] * (20 - reached) for reached in (19, 15))
    found = row(night(old, [1.0] * 20), night(new, [1.0] * 20), "time-to-target")
    many = compare([night(old, [1.0] * 20) for _ in range(5)], [night(new, [1.0] * 20)])
    assert next(one for one in many if one.metric.name == "time-to-target").verdict == found.verdict == "same"


def test_seeds_that_end_as_before_are_the_same_however_much_they_differ():
    """A deterministic training whose computation has not changed; by Welch's test this would take 1,500 trials."""
    accuracies = [0.94, 0.95, 0.96, 0.97]
    found = row(night(accuracies, STEADY[:4]), night(accuracies, times_of(1.0)[:4]), "accuracy")
    assert (found.verdict, found.change.interval) == ("same", (0.0, 0.0))
    assert found.notes[-1] == "every seed ended with the same accuracy on both sides"
    others = accuracies[::-1], accuracies[:3], [*accuracies[:3], 0.971]
    for other in others:
        assert row(night(accuracies, STEADY[:4]), night(other, STEADY[: len(other)]), "accuracy").verdict == "undecided"
    assert row(*(night(accuracies[:3], STEADY[:3]) for _ in range(2)), "accuracy").verdict == "undecided", "too few"


def test_pairs_that_repeat_seeds_count_once():
    sides = [[night([0.95] * 8, times_of(factor)) for _ in range(3)] for factor in (1.0, 1.001)]
    together = [[replace(one, interleaved=f"id {n}") for n, one in enumerate(side)] for side in sides]
    found = {one.metric.name: one for one in compare(*together)}
    assert found["time-to-target"].change.paired
    assert [found[name].change.n for name in ("time", "time-to-target")] == [24, 8]


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


LOOKS = (8, 16, 40)
"""8 of 40 trials: level 0.0001%; 16: 0.08%"""


def planned(seconds, **changes):
    return samples(seconds, interleaved="together", looks=LOOKS, **changes)


def long(factor, n, spread=0.0, seed=0):
    return (factor * (np.tile(STEADY, 5)[:n] + np.random.default_rng(seed).normal(0, spread, n))).tolist()


@pytest.mark.parametrize(("n", "verdict"), [(16, "worse"), (8, "undecided"), (40, "worse")])
def test_a_pair_that_was_trained_until_decided_is_judged_at_the_level_of_its_look(n, verdict):
    """Eight pairs have p = 0.8% at the least."""
    found = row(planned(long(1, n)), planned(long(1.05, n)))
    assert (found.verdict, found.change.paired, found.change.significant()) == (verdict, True, True)
    assert row(*(replace(side, looks=()) for side in (planned(long(1, n)), planned(long(1.05, n))))).verdict == "worse"
    look = {8: "1 of 3, 8", 16: "2 of 3, 16", 40: "3 of 3, 40"}[n]
    assert [note.partition(";")[0] for note in found.notes] == [f"stopped at look {look} of 40 trials"]


def test_the_interval_of_the_same_is_of_the_level_of_the_look_too():
    before, after = (long(1, 16, 0.012, seed) for seed in (3, 7))
    once = row(*(samples(side, interleaved="one") for side in (before, after)))
    early = row(planned(before), planned(after))
    assert (once.verdict, early.verdict) == ("same", "undecided")
    assert early.change.interval[0] < once.change.interval[0] < once.change.interval[1] < early.change.interval[1]
    assert early.change.level == pytest.approx(0.00079, rel=0.02)


@pytest.mark.parametrize("discarded", [0, 1])
def test_trials_that_were_left_out_count_as_looked_at(discarded):
    sides = [planned(long(factor, 16 - discarded), discarded=discarded) for factor in (1, 1.05)]
    assert row(*sides).verdict == "worse"
    assert "look 2 of 3" in row(*sides).notes[0]


def test_nothing_is_decided_between_two_looks():
    """Accuracies, times, and how many reached the target: a verdict would be one more look."""
    for n, verdicts in ((16, {"worse", "same"}), (17, {"undecided"})):
        few = {"reached": 4, "to_target": [1.5] * 4 + [None] * (n - 4)}
        found = compare([planned(long(1, n))], [planned(long(1.5, n), **few)])
        assert {one.verdict for one in found} == verdicts
    assert {one.reason for one in found} == {"training stopped between two looks: resume both runs"}
    assert {one.notes[0] for one in found} == {"stopped between two looks, after 17 of 40 trials"}


def test_a_run_of_a_plan_keeps_its_level_beside_others():
    early, other = planned(long(1, 16)), samples(long(1.05, 40))
    assert row(early, other).change.level == pytest.approx(0.00079, rel=0.02)
    late = replace(planned(long(1, 40)), interleaved=None)
    (found, *_) = compare([early, late], [other])
    assert found.change.level == pytest.approx(0.00079, rel=0.02)
    assert len([note for note in found.notes if note.startswith("stopped at look")]) == 2


def test_what_would_decide_after_a_plan_are_new_runs():
    noisy = long(1, 40, 0.2, 1)
    found = row(planned(noisy), planned(long(1, 40, 0.2, 2)))
    needed = found.change.needed(0.02)
    assert found.reason.startswith(f"{needed:,} trials in new runs (about ")
    assert " would decide if the change stays the same" in found.reason
    assert "more trial" not in found.reason
