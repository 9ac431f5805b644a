import math
from types import SimpleNamespace

import pytest
import torch

from pipelines import models, recipe
from pipelines.distributed.process_group import World
from pipelines.models.dropout import Dropout
from pipelines.recipe import RecipeError
from pipelines.techniques.progressive_dropout import exponential, linear
from pipelines.train import run_trial, set_up

RATES = "model.dropout={input: 0.1, blocks: 0.25, head: 0.5}"


def quick(*overrides):
    return recipe.load("digits/quick", ["batch_size=200", "epochs=3", "model.widths=[4, 4]", *overrides])


class Rate:
    """Writes down the rates that the network has in each step."""

    def __init__(self):
        self.seen = []

    def batch_ready(self, state):
        dropouts = [module for module in state.network.modules() if isinstance(module, Dropout)]
        self.seen.append([round(1 - module.keep.item(), 6) for module in dropouts])


def test_linear_rates():
    assert [linear(0.1, 0.5, step, 4) for step in range(7)] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.5, 0.5])
    assert linear(0.5, 0.1, 1, 4) == pytest.approx(0.4), "rates may fall"


@pytest.mark.parametrize("kept", [0.9, 0.75, 0.5])
@pytest.mark.parametrize("step", [0, 1, 1000, 100_000])
def test_exponential_rates_are_those_of_curriculum_dropout(kept, step):
    """The published schedule of the probability to be kept: p(t) = (1 - p) exp(-gamma t) + p."""
    published = (1 - kept) * math.exp(-1e-3 * step) + kept
    assert 1 - exponential(0.0, 1 - kept, step, 1e-3) == pytest.approx(published, abs=1e-12)


def test_rates_of_a_training_rise_linearly_each_from_its_start_to_its_end(digits):
    watch = Rate()
    chosen = quick(RATES, "techniques.progressive_dropout={start: {head: 0.2}, end_epoch: 1.5}")
    run_trial(set_up(chosen, digits, World()), seed=0, observers=[watch])
    expected = [
        [linear(start, end, step, 1.5 * 7) for start, end in ((0, 0.1), (0, 0.25), (0, 0.25), (0.2, 0.5))]
        for step in range(3 * 7)
    ]
    torch.testing.assert_close(torch.tensor(watch.seen), torch.tensor(expected), rtol=0, atol=1e-5)
    assert watch.seen[-1] == pytest.approx([0.1, 0.25, 0.25, 0.5])


def test_rates_of_a_training_rise_exponentially(digits):
    watch = Rate()
    chosen = quick("model.dropout.head=0.5", "techniques.progressive_dropout={gamma: 0.1}")
    run_trial(set_up(chosen, digits, World()), seed=0, observers=[watch])
    expected = [[0.5 - 0.5 * math.exp(-0.1 * step)] for step in range(3 * 7)]
    torch.testing.assert_close(torch.tensor(watch.seen), torch.tensor(expected), rtol=0, atol=1e-5)


def test_the_next_trial_begins_at_the_start(digits):
    chosen = quick(RATES, "techniques.progressive_dropout={end_epoch: 2}")
    setup = set_up(chosen, digits, World())
    first, again = (run_trial(setup, seed=3) for _ in range(2))
    assert first.epochs == again.epochs


def test_without_the_technique_the_rates_are_the_recipe_s(digits):
    watch, setup = Rate(), set_up(quick(RATES, "techniques.progressive_dropout={end_epoch: 2}"), digits, World())
    run_trial(setup, seed=0)
    models.initialize(setup.network, 0, setup.recipe.initialization)
    watch.batch_ready(SimpleNamespace(network=setup.network))
    assert watch.seen == [[0.1, 0.25, 0.25, 0.5]]


def test_rates_that_stay_where_they_are_change_nothing(digits):
    start = RATES.partition("=")[2]
    steady = quick(RATES, f"techniques.progressive_dropout={{start: {start}, end_epoch: 2}}")
    trials = [run_trial(set_up(chosen, digits, World()), seed=0) for chosen in (steady, quick(RATES))]
    assert trials[0].epochs == trials[1].epochs


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["techniques.progressive_dropout={end_epoch: 3}"], r"needs a final rate: set model.dropout={head: 0.5}"),
        (
            ["model.dropout.head=0.5", "techniques.progressive_dropout={start: {input: 0.1}, end_epoch: 3}"],
            r"progressive_dropout.start.input=0.1 does nothing without a final rate: set model.dropout.input=0.5",
        ),
        (["model.dropout.head=0.5", "techniques.progressive_dropout={}"], r"set either end_epoch"),
        (
            ["model.dropout.head=0.5", "techniques.progressive_dropout={end_epoch: 1, gamma: 1}"],
            r"set either end_epoch",
        ),
    ],
)
def test_what_cannot_be_is_refused(overrides, message):
    with pytest.raises(RecipeError, match=message):
        quick(*overrides)


def test_a_place_without_dropout_stays_without(digits):
    """Only what the network drops is changed: here its head, and not its input or its blocks."""
    watch = Rate()
    chosen = quick("model.dropout.head=0.5", "techniques.progressive_dropout={end_epoch: 1.0}")
    run_trial(set_up(chosen, digits, World()), seed=0, observers=[watch])
    assert {len(rates) for rates in watch.seen} == {1}
    assert (watch.seen[0], watch.seen[-1]) == ([0.0], [0.5])


def test_a_compiled_network_is_compiled_in_warm_up_alone(digits, without_inductor):
    from pipelines.warmup import warm_up

    chosen = quick(RATES, "compile=true", "techniques.progressive_dropout={gamma: 0.1}", "evaluation.batch_size=360")
    setup = set_up(chosen, digits, World())
    warm_up(setup)
    with torch.compiler.set_stance("fail_on_recompile"):
        run_trial(setup, seed=0)
