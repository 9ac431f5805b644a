"""The host as a random factor: planted effects, what is refused, and simulated coverage."""

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from results import store
from results.hosts import host_effect
from results.record import Run
from results.samples import find_runs
from results.simulation import host_rates
from results.summary import summarize
from results.tables import comparison
from results.tables.ladder import ladder_table
from results.tables.runs import summary_tables
from results.tables.techniques import techniques_table
from tests.results import builders


def test_hosts_and_trials_have_their_own_spread():
    times = [1.0, 1.02, 1.05, 1.071]  # the second host is 5% slower, trials of one differ by 2%
    found = host_effect(times, ["a", "a", "b", "b"])
    assert found.hosts == 2
    assert found.difference == pytest.approx(0.05)
    assert found.within == pytest.approx(np.log(1.02) / np.sqrt(2))
    assert found.between == pytest.approx(np.sqrt((np.log(1.05) ** 2 - np.log(1.02) ** 2 / 2) / 2))
    assert found.center == pytest.approx((1.0 * 1.02 * 1.05 * 1.071) ** 0.25)
    assert found.are_alike


def test_each_host_counts_once_and_the_interval_is_students_over_them():
    means, n = np.array([0.0, 0.1, 0.3]), np.array([2, 4, 6])
    half = 0.05
    times = [
        np.exp(mean + sign * half) for mean, count in zip(means, n, strict=True) for sign in (-1, 1) * (count // 2)
    ]
    found = host_effect(times, np.repeat(["a", "b", "c"], n).tolist())
    variance = 12 * half**2 / 9
    assert found.between == pytest.approx(np.sqrt(np.var(means, ddof=1) - variance * np.mean(1 / n)))
    assert np.log(found.center) == pytest.approx(np.mean(means))
    expected = stats.t.interval(0.95, 2, np.mean(means), np.std(means, ddof=1) / np.sqrt(3))
    assert np.log(found.interval) == pytest.approx(expected)
    assert not found.are_alike


def test_hosts_that_agree_by_chance_make_no_narrow_interval():
    found = host_effect([1.0, 1.1, 1.0, 1.1], ["a", "a", "b", "b"])
    error = np.log(1.1) / np.sqrt(2) / np.sqrt(4)
    expected = stats.t.interval(0.95, 2, np.log(1.1) / 2, error)
    assert np.log(found.interval) == pytest.approx(expected)


def test_what_has_no_host_or_no_time_is_left_out():
    times, hosts = [1.0, 1.1, 1.0, 1.1], ["a", "a", "b", "b"]
    assert host_effect([*times, None, 9.0], [*hosts, "a", None]) == host_effect(times, hosts)


@pytest.mark.parametrize(("times", "hosts"), [([], []), ([1.0, 2.0], ["a", "a"]), ([1.0, 2.0], ["a", "b"])])
def test_too_few_hosts_or_trials_have_no_effect(times, hosts):
    assert host_effect(times, hosts) is None


def test_equal_times_have_an_interval_of_no_width():
    found = host_effect([2.0] * 4, ["a", "a", "b", "b"])
    assert found.interval == pytest.approx((2.0, 2.0))


def test_the_interval_holds_the_center_in_95_of_100_runs_of_any_design():
    """At least 95% less three standard errors of 600 draws: where hosts do not differ it holds more often."""
    assert [row for row in host_rates(600) if row["holds"] < 0.923] == []


def test_noise_alone_seldom_keeps_equal_hosts_apart():
    """At most 5% of 1,000 runs, and three standard errors of that number."""
    generator, names = np.random.default_rng(0), np.repeat(np.arange(10), 2).tolist()
    effects = [host_effect(np.exp(generator.normal(0, 0.05, 20)).tolist(), names) for _ in range(1000)]
    assert sum(not one.are_alike for one in effects) <= 71
    assert sum(one.difference > 0.1 for one in effects) > 500


def run_over(*factors, trials=4, **changes):
    """A run of `trials` trials on each host, which takes `factor` times as long as the first one would."""
    hosts = [(name, factor) for name, factor in zip("abc", factors, strict=False) for _ in range(trials)]
    each = [
        builders.trial(seed, host={"hash": host}, laps=[{"name": "train", "epoch": 1, "seconds": factor + seed * 1e-3}])
        for seed, (host, factor) in enumerate(hosts)
    ]
    number = f"run{next(builders.NUMBERS)}"
    return Run(builders.record(id=number, seeds=list(range(len(each))), **changes), each, Path("runs") / number)


def test_the_interval_of_a_run_over_hosts_is_as_wide_as_theirs():
    found = summarize(run_over(1.0, 1.05, 1.02), "strict").total_time
    low, high = found.hosts.interval
    assert found.hosts.hosts == 3
    assert found.median.interval[1] / found.median.interval[0] == pytest.approx(high / low)
    of_one_host = summarize(run_over(1.02, trials=12), "strict").total_time
    assert of_one_host.hosts is None
    assert high / low > of_one_host.median.interval[1] / of_one_host.median.interval[0]


POOLED = "over several hosts: geometric mean of the hosts' medians"


@pytest.mark.parametrize(("factors", "is_pooled"), [((1.0, 1.05), True), ((1.0,), False), ((1.0, 1.2), False)])
def test_captions_say_what_a_time_over_hosts_is(factors, is_pooled):
    run, base = run_over(*factors), run_over(1.0, recipe_name="mnist/base")
    tables = [*summary_tables([run], "strict"), ladder_table([run], "strict"), techniques_table([base, run], "strict")]
    assert [POOLED in table.caption for table in tables] == [is_pooled] * 3
    assert all("Times: median" in table.caption for table in tables)


def test_a_comparison_says_what_its_times_over_hosts_are():
    two, three, one, other = run_over(1.0, 1.05), run_over(1.0, 1.05, 1.02), run_over(1.0), run_over(1.0)
    samples = "each host is one sample, the geometric mean of its trials"
    assert samples in comparison.of_pairs([(two, three)], "strict").caption
    assert samples not in comparison.of_pairs([(one, other)], "strict").caption
    faster = run_over(1.0, 1.05, environment={"machine_class": "NVIDIA H100", "machine_id": "m"})
    assert "geometric mean of the hosts' medians" in comparison.of_pairs([(two, faster)], "strict").caption
    few = run_over(1.0, 1.05, trials=1, environment={"machine_class": "NVIDIA H100", "machine_id": "m"})
    assert "hosts' medians" not in comparison.of_pairs([(run_over(1.0), few)], "strict").caption


def test_hosts_that_differ_by_too_much_are_not_pooled():
    found = summarize(run_over(1.0, 1.2), "strict").total_time
    assert (found.value, found.median) == (None, None)
    assert found.absent == "its hosts differ by 20%, more than 10%"


def test_a_cached_run_keeps_its_hosts(tmp_path):
    run = run_over(1.0, 1.05)
    directory = store.create(tmp_path, run.record)
    for trial in run.trials:
        directory.append(trial)
    directory.finish("finished")
    for _ in range(2):
        ((_, samples),) = find_runs([tmp_path])
        assert samples["strict"].hosts == ("a",) * 4 + ("b",) * 4
