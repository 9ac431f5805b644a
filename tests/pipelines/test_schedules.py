import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import recipe
from pipelines.optimizers import lr_factors
from pipelines.recipe.schedules import Constant, PiecewiseLinear
from pipelines.recipe.techniques import WhiteningBias
from pipelines.schedules import constant, make_schedule, piecewise_linear, whitening_bias_schedule


def knots(epochs, values):
    return PiecewiseLinear(name="piecewise_linear", epochs=epochs, values=values)


def test_constant_is_one():
    assert [constant(Constant(name="constant"))(epoch) for epoch in (0, 0.3, 100)] == [1, 1, 1]


@pytest.mark.parametrize(
    ("epoch", "factor"),
    [(0, 0.2), (1, 0.2), (2, 0.6), (3, 1), (4.5, 0.7), (6, 0.4), (6.5, 0.2), (7, 0), (8, 0), (1000, 0)],
)
def test_piecewise_linear_at_between_before_and_after_its_knots(epoch, factor):
    schedule = piecewise_linear(knots((1, 3, 6, 7), (0.2, 1, 0.4, 0)))
    assert schedule(epoch) == pytest.approx(factor, abs=1e-12)


def test_one_knot_is_a_constant():
    schedule = piecewise_linear(knots((3,), (0.5,)))
    assert [schedule(epoch) for epoch in (0, 3, 9)] == [0.5, 0.5, 0.5]


EIGHTHS = st.integers(0, 800).map(lambda eighths: eighths / 8)


@given(st.lists(EIGHTHS, min_size=2, max_size=6, unique=True).map(sorted), st.data(), st.floats(0, 1))
def test_between_two_knots_the_factor_lies_between_their_values(epochs, data, share):
    values = data.draw(st.lists(st.floats(0, 10), min_size=len(epochs), max_size=len(epochs)))
    schedule = piecewise_linear(knots(tuple(epochs), tuple(values)))
    assert [schedule(epoch) for epoch in epochs] == pytest.approx(values)
    between = epochs[0] + share * (epochs[1] - epochs[0])
    low, high = sorted(values[:2])
    assert low - 1e-9 <= schedule(between) <= high + 1e-9


def test_there_is_one_factor_for_each_step():
    factors = lr_factors(piecewise_linear(knots((0, 2), (0, 1))), steps=10, steps_per_epoch=4)
    assert factors == [0, 1 / 8, 2 / 8, 3 / 8, 4 / 8, 5 / 8, 6 / 8, 7 / 8, 1, 1]


def test_davidnet_s_schedule():
    knobs = recipe.load("cifar10/davidnet-10")
    steps_per_epoch = knobs.steps_per_epoch(50_000)
    steps = knobs.steps(50_000)
    assert (steps_per_epoch, steps) == (97, 970)
    schedule = make_schedule(knobs)
    factors = lr_factors(schedule, steps, steps_per_epoch)
    assert len(factors) == 970
    rates = [knobs.optimizer.lr * schedule(epoch) for epoch in (0, 1, 2, 5, 8, 9, 10)]
    assert rates == pytest.approx([0, 0.5, 1, 0.55, 0.1, 0.1, 0.1])
    assert [factors[epoch * 97] for epoch in (0, 1, 2, 5, 8, 9)] == pytest.approx([0, 0.5, 1, 0.55, 0.1, 0.1])


def test_the_whitening_bias_schedule_falls_to_zero_over_its_epochs():
    schedule = whitening_bias_schedule(WhiteningBias(epochs=3.0, decay=True))
    assert [schedule(epoch) for epoch in (0, 1.5, 3, 8)] == [1, 0.5, 0, 0]
