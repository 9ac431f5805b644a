"""Hosts that are slower or faster than the rest: planted ones are named, and equal ones seldom."""

from pathlib import Path

import numpy as np
import pytest

from results import slow_hosts
from results.record import Lap, Run
from results.sequential import nominal_levels, p_over_looks
from results.statistics import adjust_for_many, ratio_of_times
from tests.results import builders


def named(times):
    """The hosts that differ, with how."""
    found = {name: slow_hosts.difference(change) for name, change in slow_hosts.changes(times).items()}
    return {name: word for name, word in found.items() if word}


def drawn(generator, noise, trials=5, slower=1.0):
    """Times on eight hosts, the first of which is slower by a factor."""
    seconds = generator.lognormal(0, noise, (8, trials))
    seconds[0] *= slower
    return {f"h{number}": list(row) for number, row in enumerate(seconds)}


def test_one_of_eight_hosts_that_is_5_percent_slower_is_the_one_that_is_named():
    for seed in range(20):
        assert named(drawn(np.random.default_rng(seed), 0.01, slower=1.05)) == {"h0": "slower"}


def test_a_host_that_is_5_percent_faster_is_named():
    assert named(drawn(np.random.default_rng(0), 0.01, slower=1 / 1.05)) == {"h0": "faster"}


def test_where_hosts_do_not_differ_at_most_5_percent_of_tables_name_one():
    """And three standard errors of 300 draws."""
    generator = np.random.default_rng(0)
    tables = sum(bool(named(drawn(generator, 0.05))) for _ in range(300))
    assert tables <= 300 * 0.05 + 3.1 * (300 * 0.05 * 0.95) ** 0.5


def test_a_change_is_against_all_other_hosts_with_p_adjusted_for_all():
    times = {"a": [1.0, 1.01, 1.02], "b": [1.1, 1.11, 1.12], "c": [1.05, 1.06, 1.07]}
    found = slow_hosts.changes(times)
    plain = {
        name: ratio_of_times([t for other in times if other != name for t in times[other]], times[name])
        for name in times
    }
    assert {name: (one.size, one.interval) for name, one in found.items()} == {
        name: (one.size, one.interval) for name, one in plain.items()
    }
    assert [one.p for one in found.values()] == adjust_for_many([one.p for one in plain.values()])
    assert found["b"].size > 1 > found["a"].size


def test_a_difference_under_the_limit_is_none_however_sure_it_is():
    exact = {f"h{number}": list(np.linspace(1.0, 1.001, 10)) for number in range(4)}
    slower = exact | {"h0": [1.01 * one for one in exact["h0"]]}
    assert slow_hosts.changes(slower)["h0"].significant()
    assert "h0" not in named(slower)


def run_on(hosts, **changes):
    """A run of a trial for each pair of a host and its seconds."""
    trials = [
        builders.trial(seed, host=host, laps=[{"name": "train", "epoch": 1, "seconds": seconds}], **changes)
        for seed, (host, seconds) in enumerate(hosts)
    ]
    return Run(builders.record(seeds=list(range(len(trials)))), trials, Path("runs/x"))


A, B = {"hash": "a", "gpus": ["gpu-1"]}, {"hash": "b", "gpus": ["gpu-2"]}


def test_each_host_has_its_trials_and_gpus_and_the_slowest_is_first():
    run = run_on([(A, 1.0), (B, 2.0), (A | {"gpus": ["gpu-0"]}, 1.1)])
    found = slow_hosts.compare_hosts(run, "strict")
    assert [(one.host.hash, one.host.gpus, one.times) for one in found] == [
        ("b", ("gpu-2",), (2.0,)),
        ("a", ("gpu-0", "gpu-1"), (1.0, 1.1)),
    ]
    assert {one.difference for one in found} == {None}


def test_a_host_on_which_no_trial_finished_is_last():
    run = run_on([(A, 1.0), (A, 1.0)])
    failed = builders.trial(2, host=B, outcome="failed", reason="x", accuracy=None)
    found = slow_hosts.compare_hosts(Run(run.record, [failed, *run.trials], run.path), "strict")
    assert [(one.host.hash, one.times, one.change, one.difference) for one in found] == [
        ("a", (1.0, 1.0), None, None),
        ("b", (), None, None),
    ]


@pytest.mark.parametrize("hosts", [[(A, 1.0), (A, 1.0)], [(A, 1.0), (None, 1.0)]])
def test_a_single_host_and_trials_of_unknown_hosts_are_not_compared(hosts):
    assert slow_hosts.compare_hosts(run_on(hosts), "strict") == []


def test_an_unknown_protocol_is_refused():
    with pytest.raises(ValueError, match="protocol='mine'"):
        slow_hosts.compare_hosts(run_on([(A, 1.0), (B, 1.0)]), "mine")


def test_hosts_of_a_run_that_looks_ended_are_judged_over_all_looks():
    looks, generator = (16, 24, 32, 40), np.random.default_rng(0)
    times = {name: list(factor * generator.lognormal(0, 0.01, 8)) for name, factor in (("a", 1.03), ("b", 1.0))}
    trials = [
        builders.trial(seed, laps=[Lap(name="train", epoch=1, seconds=one)], host={"hash": name, "gpus": []})
        for seed, (name, one) in enumerate((name, one) for name, of in times.items() for one in of)
    ]
    plain, found = (
        slow_hosts.compare_hosts(Run(builders.record(seeds=range(16), plan=plan), trials, Path("runs")), "strict")
        for plan in (None, {"looks": looks})
    )
    assert [one.difference for one in plain] == ["slower", "faster"]
    for before, after in zip(plain, found, strict=True):
        assert after.change.p == pytest.approx(p_over_looks(before.change.p, [(looks, 16)]))
        assert after.level == after.change.level == nominal_levels(looks)[0]
