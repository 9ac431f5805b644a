import math
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import recipe
from pipelines.optim.optimizers import lr_factors
from pipelines.optim.schedules import SCHEDULES, make_schedule, whitening_bias_schedule
from pipelines.recipe.techniques import WhiteningBias


@cache
def schedule(text, epochs=20.0):
    """The function of a schedule that is written as one line of YAML."""
    return make_schedule(recipe.load("digits/quick", [f"schedule={{{text}}}", f"epochs={epochs}"]))


def test_constant_is_one():
    assert [schedule("name: constant")(epoch) for epoch in (0, 0.3, 100)] == [1, 1, 1]


@pytest.mark.parametrize(
    ("epoch", "factor"),
    [(0, 0.2), (1, 0.2), (2, 0.6), (3, 1), (4.5, 0.7), (6, 0.4), (6.5, 0.2), (7, 0), (8, 0), (1000, 0)],
)
def test_piecewise_linear_at_between_before_and_after_its_knots(epoch, factor):
    found = schedule("name: piecewise_linear, epochs: [1, 3, 6, 7], values: [0.2, 1, 0.4, 0]")(epoch)
    assert found == pytest.approx(factor, abs=1e-12)


def test_one_knot_is_a_constant():
    one = schedule("name: piecewise_linear, epochs: [3], values: [0.5]")
    assert [one(epoch) for epoch in (0, 3, 9)] == [0.5, 0.5, 0.5]


EIGHTHS = st.integers(0, 800).map(lambda eighths: eighths / 8)


@given(st.lists(EIGHTHS, min_size=2, max_size=6, unique=True).map(sorted), st.data(), st.floats(0, 1))
def test_between_two_knots_the_factor_lies_between_their_values(epochs, data, share):
    values = data.draw(st.lists(st.floats(0, 10), min_size=len(epochs), max_size=len(epochs)))
    lines = schedule(f"name: piecewise_linear, epochs: {epochs}, values: {values}")
    assert [lines(epoch) for epoch in epochs] == pytest.approx(values)
    between = epochs[0] + share * (epochs[1] - epochs[0])
    low, high = sorted(values[:2])
    assert low - 1e-9 <= lines(between) <= high + 1e-9


# Closed forms, at any time.

TIMES = st.floats(0, 20)


@given(st.integers(0, 2000), st.integers(1, 400), st.integers(1, 40), st.floats(0.01, 1))
def test_step(step, steps_per_epoch, quarters, gamma):
    """Counted in whole numbers: a quarter of an epoch has steps_per_epoch / 4 steps."""
    found = schedule(f"name: step, every: {quarters / 4}, gamma: {gamma}")(step / steps_per_epoch)
    assert found == gamma ** (4 * step // (quarters * steps_per_epoch))


@given(TIMES, st.floats(0.01, 1))
def test_exponential(epoch, gamma):
    assert schedule(f"name: exponential, gamma: {gamma}")(epoch) == pytest.approx(gamma**epoch)


@given(TIMES, st.floats(1e-3, 10))
def test_inverse_time(epoch, k):
    assert schedule(f"name: inverse_time, k: {k}")(epoch) == pytest.approx(1 / (1 + k * epoch))


@given(TIMES, st.floats(0.1, 5))
def test_inverse_sqrt_is_level_until_it_is_one(epoch, k):
    expected = k / math.sqrt(epoch) if epoch > k**2 else 1
    assert schedule(f"name: inverse_sqrt, k: {k}")(epoch) == pytest.approx(expected)


@given(TIMES)
def test_inverse_sqrt_with_a_warm_up_is_the_transformer_s(epoch):
    found = schedule("name: inverse_sqrt, k: 2, warm_up: 4")(epoch)
    assert found == pytest.approx(2 * min(epoch**-0.5 if epoch else math.inf, epoch * 4**-1.5))


@given(TIMES, st.floats(0, 1))
def test_cosine(epoch, floor):
    expected = floor + (1 - floor) * math.cos(math.pi * epoch / 40) ** 2
    assert schedule(f"name: cosine, floor: {floor}")(epoch) == pytest.approx(expected, abs=1e-12)


@given(TIMES, st.floats(0, 1), st.floats(0.2, 4))
def test_polynomial(epoch, floor, power):
    expected = floor + (1 - floor) * (1 - epoch / 20) ** power
    assert schedule(f"name: polynomial, floor: {floor}, power: {power}")(epoch) == pytest.approx(expected)


EXAMPLES = {
    "constant": "name: constant",
    "piecewise_linear": "name: piecewise_linear, epochs: [0, 2, 9], values: [0, 1, 0.1]",
    "step": "name: step, every: 0.7",
    "multi_step": "name: multi_step, milestones: [0.5, 1.5]",
    "exponential": "name: exponential, gamma: 0.8",
    "inverse_time": "name: inverse_time, k: 0.3",
    "inverse_sqrt": "name: inverse_sqrt",
    "cosine": "name: cosine, period: 0.9",
    "polynomial": "name: polynomial",
    "one_cycle": "name: one_cycle",
}
every_schedule = pytest.mark.parametrize("text", EXAMPLES.values(), ids=EXAMPLES)


def test_every_schedule_has_an_example_here():
    assert EXAMPLES.keys() == SCHEDULES.keys()


@every_schedule
@given(epoch=st.floats(0, 8))
def test_a_warm_up_is_a_straight_line_times_the_schedule(text, epoch):
    plain, warm = schedule(text, epochs=5), schedule(f"{text}, warm_up: 3, warm_up_start: 0.4", epochs=8)
    ramp = 0.4 + 0.6 * min(1, epoch / 3)
    waits = text.split()[1].strip(",") in {"exponential", "inverse_time", "cosine", "polynomial"}
    begun = max(0.0, epoch - 3) if waits else epoch
    expected = plain(begun) if waits else schedule(text, epochs=8)(epoch)
    assert warm(epoch) == pytest.approx(ramp * expected, abs=1e-12)


@every_schedule
@pytest.mark.parametrize("warm_up", ["0", "1.5", "2.5", "30"])
@pytest.mark.parametrize("epochs", [20, 2.5, 0.01])
def test_factors_are_finite_from_0_to_1_however_short_the_training_is(text, warm_up, epochs):
    """A smoke test and the warm-up cut `epochs` and leave the schedule as it is."""
    long = recipe.load("digits/quick", [f"schedule={{{text}, warm_up: {warm_up}}}"])
    found = make_schedule(long.model_copy(update={"epochs": epochs}))
    factors = [found(epoch) for epoch in np.linspace(0, epochs, 50)]
    assert all(0 <= factor <= 1 for factor in factors)


@pytest.mark.parametrize("text", ["name: cosine, floor: 0.25", "name: polynomial, floor: 0.25", "name: one_cycle"])
def test_what_ends_with_the_training_ends_with_it_in_sample_mode_too(text):
    end = schedule(text, epochs=20)(20)
    sample = recipe.smoke_test(recipe.load("digits/quick", [f"schedule={{{text}}}"]))
    assert sample.epochs == 2
    assert make_schedule(sample)(2) == pytest.approx(end)
    assert make_schedule(sample)(1) == pytest.approx(schedule(text, epochs=20)(10))


# Periods.


@pytest.mark.parametrize("text", ["name: piecewise_linear, epochs: [0, 0.04], values: [0.2, 1]", "name: cosine"])
def test_a_period_repeats_the_schedule_from_its_start(text):
    alone = schedule(text, epochs=0.05)
    repeated = schedule(f"{text}, period: 0.05", epochs=1)
    factors = lr_factors(repeated, steps=200, steps_per_epoch=200)
    assert factors == pytest.approx([alone(step % 10 / 200) for step in range(200)], abs=1e-9)


@given(st.integers(1, 300), st.integers(1, 50), st.integers(1, 20))
def test_a_period_begins_in_its_step_and_not_in_the_next(steps_per_epoch, length, number):
    """A period of so many steps, in epochs: a quotient that no floating-point number may be."""
    period = length / steps_per_epoch
    first = number * length / steps_per_epoch
    assert schedule(f"name: step, every: {period}, gamma: 0.5")(first) == 0.5**number
    before = (number * length - 1) / steps_per_epoch
    assert schedule(f"name: step, every: {period}, gamma: 0.5")(before) == 0.5 ** (number - 1)
    assert schedule(f"name: cosine, period: {period}")(first) == pytest.approx(1)


def test_a_milestone_begins_in_its_step():
    found = lr_factors(schedule("name: multi_step, milestones: [0.3, 1.1], gamma: 0.5"), steps=20, steps_per_epoch=10)
    assert found == [1] * 3 + [0.5] * 8 + [0.25] * 9


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: piecewise_linear, epochs: [0, 4], values: [0, 1], period: 3", "period=3 starts again before the last"),
        ("name: multi_step, milestones: [3, 3]", "milestones must rise, not"),
        ("name: piecewise_linear, epochs: [1, 0], values: [1, 1]", "epochs must rise from knot to knot"),
        ("name: one_cycle, peak: 1", "schedule.peak=1: it should be less than 1"),
        ("name: step, every: 0", "schedule.every=0: it should be greater than 0"),
        ("name: exponential, gamma: 1.1", "schedule.gamma=1.1: it should be less than or equal to 1"),
    ],
)
def test_schedules_that_make_no_sense(text, message):
    with pytest.raises(recipe.RecipeError, match=message):
        schedule(text)


# Recipes.


def test_there_is_one_factor_for_each_step():
    lines = schedule("name: piecewise_linear, epochs: [0, 2], values: [0, 1]")
    assert lr_factors(lines, steps=10, steps_per_epoch=4) == [0, 1 / 8, 2 / 8, 3 / 8, 4 / 8, 5 / 8, 6 / 8, 7 / 8, 1, 1]


def test_davidnet_s_schedule():
    config = recipe.load("cifar10/davidnet-10")
    steps_per_epoch = config.steps_per_epoch(50_000)
    steps = config.steps(50_000)
    assert (steps_per_epoch, steps) == (97, 970)
    found = make_schedule(config)
    factors = lr_factors(found, steps, steps_per_epoch)
    assert len(factors) == 970
    rates = [config.optimizer.lr * found(epoch) for epoch in (0, 1, 2, 5, 8, 9, 10)]
    assert rates == pytest.approx([0, 0.5, 1, 0.55, 0.1, 0.1, 0.1])
    assert [factors[epoch * 97] for epoch in (0, 1, 2, 5, 8, 9)] == pytest.approx([0, 0.5, 1, 0.55, 0.1, 0.1])


def test_the_whitening_bias_schedule_falls_to_zero_over_its_epochs():
    found = whitening_bias_schedule(WhiteningBias(epochs=3.0, decay=True))
    assert [found(epoch) for epoch in (0, 1.5, 3, 8)] == [1, 0.5, 0, 0]


def test_the_first_step_may_be_further_on_in_the_schedule():
    found = schedule("name: piecewise_linear, epochs: [0, 2], values: [0, 1]")
    assert lr_factors(found, steps=4, steps_per_epoch=2, first_step=1) == [0.25, 0.5, 0.75, 1]
