import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from results import change_points


def noise(seed, n, spread=0.01):
    return 10 * (1 + spread * np.random.default_rng(seed).standard_normal(n))


def test_a_planted_step_is_found_where_it_is():
    values = noise(0, 40)
    values[25:] *= 1.1
    found = change_points.levels(values)
    assert [level.start for level in found] == [0, 25]
    assert found[1].median / found[0].median == pytest.approx(1.1, abs=0.01)


def test_steps_up_and_down_are_both_found():
    values = noise(1, 60)
    values[20:40] *= 0.8
    assert [level.start for level in change_points.levels(values)] == [0, 20, 40]


def test_one_bad_night_is_no_step():
    values = noise(2, 30)
    values[12] *= 3
    assert len(change_points.levels(values)) == 1


def test_a_step_smaller_than_counts_is_none():
    values = [10.0] * 20 + [10.05] * 20
    assert len(change_points.levels(values)) == 1
    assert [level.start for level in change_points.levels(values, smallest=0)] == [0, 20]


@pytest.mark.parametrize("last", [3, 5])
def test_a_step_is_found_from_its_third_run_on(last):
    found = []
    for seed in range(40):
        values = noise(seed, 30)
        values[-last:] *= 1.1
        found.append([level.start for level in change_points.levels(values)])
    assert found.count([0, 30 - last]) >= 38


def test_slow_nights_hide_no_step_and_are_none():
    """One night in twenty takes 30% longer. Of 100 histories of 60 runs, half with a step of 5%."""
    found, alarms = 0, 0
    for seed in range(50):
        random = np.random.default_rng([seed, 1])
        values = noise(seed, 60) * np.where(random.random(60) < 0.05, 1.3, 1.0)
        alarms += len(change_points.levels(values)) > 1
        values[40:] *= 1.05
        found += any(abs(level.start - 40) <= 1 for level in change_points.levels(values))
    assert (found >= 47, alarms <= 4) == (True, True), (found, alarms)


def test_false_alarms_are_rare():
    alarms = sum(len(change_points.levels(noise(seed, 40), smallest=0)) > 1 for seed in range(400))
    assert alarms / 400 <= 0.05


def test_the_test_is_students():
    random = np.random.default_rng(3)
    before, after = random.normal(0, 1, 9), random.normal(0.5, 1, 6)
    assert change_points.t_test(before, after) == pytest.approx(stats.ttest_ind(before, after).pvalue)
    assert change_points.t_test(np.ones(4), np.ones(4)) == 1
    assert change_points.t_test(np.ones(4), np.zeros(4)) == 0


def test_a_run_far_from_its_neighbours_is_replaced_by_their_median():
    values = np.array([1.0, 1.1, 1.0, 5.0, 1.1, 1.0, 1.1])
    assert list(change_points.without_outliers(values)) == [1.0, 1.1, 1.0, 1.1, 1.1, 1.0, 1.1]


@pytest.mark.parametrize("at", [6, 20, 34])
def test_the_place_does_not_lean_to_the_middle(at):
    for seed in range(20):
        values = noise(seed, 40)
        values[at:] *= 1.1
        assert change_points.best_split(values) == at


@given(st.lists(st.floats(0.1, 100), max_size=40))
def test_levels_begin_at_the_start_and_increase(values):
    found = [level.start for level in change_points.levels(values)]
    assert found == sorted(set(found))
    assert found[:1] == [0] * bool(values)


def test_what_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="finite"):
        change_points.levels([1.0, float("nan")])
