"""Levels of several looks: those that are published, and what they hold together."""

import numpy as np
import pytest
from scipy import special

from results.sequential import FEWEST, level_of, look_at, nominal_levels, p_over_looks, plan_looks, where_stopped
from results.statistics import LEVEL, smallest_p


@pytest.mark.parametrize(
    ("looks", "alpha", "boundaries"),
    [  # of five looks at equal distances, two-sided (Reboussin, DeMets, Kim and Lan 2000, "Programs for computing …")
        ((1, 2, 3, 4, 5), 0.05, [4.8769, 3.3569, 2.6803, 2.2898, 2.0310]),
        ((8, 16, 24, 32, 40), 0.05, [4.8769, 3.3569, 2.6803, 2.2898, 2.0310]),
        ((1, 2), 0.05, [2.9626, 1.9686]),
        ((7,), 0.05, [1.9600]),
    ],
)
def test_the_levels_are_those_of_published_boundaries(looks, alpha, boundaries):
    levels = nominal_levels(looks, alpha)
    assert [-special.ndtri(level / 2) for level in levels] == pytest.approx(boundaries, abs=2e-4)


@pytest.mark.parametrize("looks", [(7, 8), (16, 24, 32, 40), (20, 25, 70, 100)])
@pytest.mark.parametrize("alpha", [0.05, 0.025])
def test_all_looks_together_find_a_change_by_chance_as_often_as_one(looks, alpha):
    """Of 20,000 draws, within four standard errors."""
    draws = 20_000
    samples = np.random.default_rng(1).normal(size=(draws, looks[-1]))
    means = samples.cumsum(axis=1)[:, np.array(looks) - 1] / np.sqrt(looks)
    p = 2 * special.ndtr(-np.abs(means))
    found = (p <= nominal_levels(looks, alpha)).any(axis=1).mean()
    assert found == pytest.approx(alpha, abs=4 * np.sqrt(alpha * (1 - alpha) / draws))


@pytest.mark.parametrize(
    ("most", "looks"), [(8, (7, 8)), (10, (8, 10)), (20, (12, 16, 20)), (40, (16, 24, 32, 40)), (1000, None)]
)
def test_looks_are_at_equal_distances_where_pairs_are_enough_for_a_verdict(most, looks):
    found = plan_looks(most)
    assert found == (looks or (200, 400, 600, 800, 1000))
    assert all(smallest_p(n, n, paired=True) <= level for n, level in zip(found, nominal_levels(found), strict=True))


@pytest.mark.parametrize("most", [1, 3, FEWEST - 1])
def test_few_trials_have_no_two_looks(most):
    with pytest.raises(ValueError, match=f"too few for two looks: give {FEWEST} or more"):
        plan_looks(most)


def test_all_more_trials_have_two_looks_or_more():
    assert {len(plan_looks(most)) for most in range(FEWEST, 30)} == {2, 3, 4}


def test_the_levels_rise_up_to_a_little_under_that_of_one_look():
    levels = nominal_levels(plan_looks(40))
    assert [*levels] == sorted(levels)
    assert 0.04 < levels[-1] < LEVEL


def test_a_look_says_its_place_and_its_level():
    looks = (16, 24, 32, 40)
    assert where_stopped(looks, 24) == "stopped at look 2 of 4, 24 of 40 trials; level 0.74%"
    assert where_stopped(looks, 25) == "stopped between two looks, after 25 of 40 trials"
    assert look_at(looks, 25) is None
    assert look_at(looks, 40).level(0.01) == nominal_levels(looks, 0.01)[3]


LOOKS = (16, 24, 32, 40)


@pytest.mark.parametrize(("trials", "look"), [(3, 0), (16, 0), (23, 0), (24, 1), (39, 2), (40, 3)])
def test_the_level_is_that_of_the_last_look_reached_or_of_the_first(trials, look):
    assert level_of([(LOOKS, trials)], 0.01) == nominal_levels(LOOKS, 0.01)[look]


def test_of_several_plans_the_smallest_level_counts_and_without_one_the_level_itself():
    assert level_of([(LOOKS, 40), (LOOKS, 24)]) == nominal_levels(LOOKS)[1]
    assert level_of([]) == LEVEL


@pytest.mark.parametrize("looks", [LOOKS, (8, 16, 32, 64), (7, 8)])
@pytest.mark.parametrize("alpha", [1e-12, 0.003, 0.05, 0.4])
def test_a_p_at_the_level_of_its_look_is_the_probability_over_all_looks(looks, alpha):
    for trials, level in zip(looks, nominal_levels(looks, alpha), strict=True):
        if level > 1e-30:
            assert p_over_looks(level, [(looks, trials)]) == pytest.approx(alpha, rel=1e-3)


@pytest.mark.parametrize("p", [0.0, 1e-200, 1e-40, 0.3, 0.9, 1.0])
def test_a_p_over_looks_is_a_probability_and_no_smaller(p):
    for trials in LOOKS:
        assert p <= p_over_looks(p, [(LOOKS, trials)]) <= 1
    assert p_over_looks(p, []) == p


def test_a_training_that_stops_when_it_likes_has_a_small_p_over_looks_no_more_often_than_it_says():
    """Of 2,000 draws without an effect, which stop at the look with the smallest p; within four standard errors."""
    draws = 2000
    samples = np.random.default_rng(2).normal(size=(draws, LOOKS[-1]))
    means = samples.cumsum(axis=1)[:, np.array(LOOKS) - 1] / np.sqrt(LOOKS)
    raw = 2 * special.ndtr(-np.abs(means))
    for alpha in (0.01, 0.05):
        levels = nominal_levels(LOOKS, alpha)
        chosen = np.argmin(raw / levels, axis=1)
        worst = [(raw[draw, look], LOOKS[look]) for draw, look in enumerate(chosen)]
        small = [p_over_looks(p, [(LOOKS, trials)]) <= alpha for p, trials in worst if p < 3 * alpha]
        assert sum(small) / draws == pytest.approx(alpha, abs=4 * np.sqrt(alpha * (1 - alpha) / draws))
