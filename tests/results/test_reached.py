from tests.results.builders import row, samples


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
