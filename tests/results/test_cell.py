"""The samples of a comparison: hosts, pairs and seeds, and the looks at which they were judged."""

from dataclasses import replace

import numpy as np
import pytest

from results.compare import compare
from results.metrics import METRICS
from results.rules import rules
from tests.results.builders import STEADY, row, samples, times_of


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


def test_several_runs_of_one_plan_are_judged_together_at_the_level_of_their_look():
    """Eight pairs in each of two runs a side."""

    def runs(factor):
        halves = (long(factor, 16)[:8], long(factor, 16)[8:])
        return [samples(half, interleaved=name) for name, half in zip("ab", halves, strict=True)]

    (found, *_) = compare(runs(1), runs(1.05), together=(LOOKS, 16))
    assert (found.verdict, found.change.n, found.change.paired) == ("worse", 16, True)
    assert found.change.level == pytest.approx(0.00079, rel=0.02)
    assert found.notes[0].startswith("stopped at look 2 of 3, 16 of 40 trials")
    (early, *_) = compare(runs(1), runs(1.05), together=(LOOKS, 8))
    assert (early.verdict, "in new runs" in early.reason) == ("undecided", True)
