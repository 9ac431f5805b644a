"""The estimate of the end of a run."""

import pytest

from bench.training.pace import Pace


def test_it_is_unknown_before_anything_was_trained():
    pace = Pace(3)
    assert pace.seconds_to_go(5.0) is None
    pace.start_trial(10.0)
    assert pace.seconds_to_go(11.0) is None


def test_the_first_trial_is_estimated_from_its_steps():
    pace = Pace(3)
    pace.start_trial(10.0)
    assert pace.seconds_to_go(12.0, 0.5) == pytest.approx(2.5 * 4)


def test_after_the_first_trial_it_is_what_that_one_took():
    pace = Pace(3)
    pace.start_trial(10.0)
    pace.end_trial(14.0)
    assert pace.seconds_to_go(14.0) == 8
    pace.start_trial(15.0)
    assert pace.seconds_to_go(16.0, 0.25) == 7


def test_from_the_second_on_what_happens_between_trials_counts():
    pace = Pace(5)
    pace.start_trial(0.0)
    for end in (4.0, 10.0, 18.0):
        pace.end_trial(end)
    assert pace.seconds_to_go(18.0) == 2 * 7


@pytest.mark.parametrize("ends", [(4.0, 12.0, 20.0, 28.0), (8.0, 12.0, 24.0, 28.0), (4.0, 16.0, 20.0, 32.0)])
def test_where_runs_are_interleaved_two_trials_tell_nothing(ends):
    """Two runs of trials of 4 s: A B A B, and the second and the first run of A B B A."""
    pace = Pace(6, interleaved=True)
    pace.start_trial(0.0)
    for end in ends[:2]:
        pace.end_trial(end)
        assert pace.seconds_to_go(end) is None
    pace.end_trial(ends[2])
    assert pace.seconds_to_go(ends[2]) == 3 * 8
    pace.end_trial(ends[3])
    assert pace.seconds_to_go(ends[3]) == 2 * 8


def test_at_the_end_nothing_is_left():
    pace = Pace(1)
    pace.start_trial(0.0)
    pace.end_trial(4.0)
    assert pace.seconds_to_go(4.0) == 0


@pytest.mark.parametrize(("trials", "seconds"), [(3, [4, 5, 4]), (10, [20] * 10), (5, [1.0, 1.2, 0.9, 1.1, 1.0])])
def test_after_the_first_trial_the_end_is_right_within_a_third(trials, seconds):
    pace, now = Pace(trials), 100.0
    for index, duration in enumerate(seconds):
        pace.start_trial(now)
        now += duration
        pace.end_trial(now)
        left = sum(seconds[index + 1 :])
        assert pace.seconds_to_go(now) == pytest.approx(left, rel=1 / 3)
