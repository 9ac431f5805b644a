import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from results import steps


def noise(seed, n, spread=0.01):
    return 10 * (1 + spread * np.random.default_rng(seed).standard_normal(n))


def test_a_planted_step_is_found_where_it_is():
    values = noise(0, 40)
    values[25:] *= 1.1
    found = steps.levels(values)
    assert [level.start for level in found] == [0, 25]
    assert found[1].median / found[0].median == pytest.approx(1.1, abs=0.01)


def test_steps_up_and_down_are_both_found():
    values = noise(1, 60)
    values[20:40] *= 0.8
    assert [level.start for level in steps.levels(values)] == [0, 20, 40]


def test_one_bad_night_is_no_step():
    values = noise(2, 30)
    values[12] *= 3
    assert len(steps.levels(values)) == 1


def test_a_step_smaller_than_counts_is_none():
    values = [10.0] * 20 + [10.05] * 20
    assert len(steps.levels(values)) == 1
    assert [level.start for level in steps.levels(values, smallest=0)] == [0, 20]


def test_eleven_runs_are_enough_and_ten_are_not():
    assert len(steps.levels([1.0] * 6 + [2.0] * 5)) == 2
    assert len(steps.levels([1.0] * 5 + [2.0] * 5)) == 1


def test_false_alarms_stay_under_the_level():
    alarms = sum(len(steps.levels(noise(seed, 40), smallest=0)) > 1 for seed in range(400))
    assert alarms / 400 <= steps.LEVEL


def test_the_statistic_is_pettitts():
    """Against its definition: the sum of signs of all differences across the split."""
    values = np.random.default_rng(3).integers(0, 9, 15).astype(float)
    sums = [abs(np.sign(values[:at, None] - values[None, at:]).sum()) for at in range(1, 15)]
    assert steps.pettitt(values) == pytest.approx(min(1, 2 * np.exp(-6 * max(sums) ** 2 / (15**3 + 15**2))))


@pytest.mark.parametrize("at", [6, 20, 34])
def test_the_place_does_not_lean_to_the_middle(at):
    for seed in range(20):
        values = noise(seed, 40)
        values[at:] *= 1.1
        assert steps.best_split(values) == at


@given(st.lists(st.floats(0.1, 100), max_size=40))
def test_levels_begin_at_the_start_and_increase(values):
    found = [level.start for level in steps.levels(values)]
    assert found == sorted(set(found))
    assert found[:1] == [0] * bool(values)


def test_what_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="finite"):
        steps.levels([1.0, float("nan")])
