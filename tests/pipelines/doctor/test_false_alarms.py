"""What is unusual but right is not called broken, and the fault beside it still is."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from pipelines import doctor, recipe
from pipelines.data import sources
from pipelines.distributed.process_group import World
from pipelines.doctor import checks, costs, fitting, weights
from pipelines.doctor.short_trial import observe
from pipelines.recipe.techniques import Techniques
from pipelines.train import set_up
from tests.pipelines.doctor.residual import Residual, setup_of

ZERO_HEAD = "initialization={head: constant, value: 0}"


def quick(dataset, *overrides):
    return set_up(recipe.load("digits/quick", ["model.widths=[16]", *overrides]), dataset, World())


def alarms(setup):
    """All but what is ok, by check."""
    return {one.check: one for one in doctor.examine(setup).findings if one.verdict != "ok" and one.check != "time"}


@pytest.mark.parametrize(
    "overrides",
    [
        [ZERO_HEAD],
        [ZERO_HEAD, "loss.label_smoothing=0.2", "optimizer={name: adamw, lr: 1e-2, weight_decay: 1e-4}"],
        ["initialization={head: normal, std: 1e-4}"],
        ["model.drop_connect=0.5"],
    ],
)
def test_recipes_with_an_unusual_head_are_healthy(digits, overrides):
    assert alarms(quick(digits, *overrides)) == {}


@pytest.mark.parametrize(
    "network",
    [
        Residual(zeros=("outer",)),
        Residual(zeros=("outer", "head")),
        Residual(zeros=("norm.weight",), norm=True),
        Residual(zeros=("norm.weight", "head"), norm=True),
        Residual(zeros=("head",), layer_scale=True),
        Residual(norm_of_logits=True),
    ],
    ids=["branch", "fixup", "norm", "norm and head", "layer scale and head", "norm of 1x1"],
)
def test_what_starts_at_zero_is_healthy(digits, network):
    assert alarms(setup_of(network, digits)) == {}


def test_a_frozen_first_layer_is_healthy(digits):
    network = Residual(zeros=("head",))
    network.first.requires_grad_(False)
    assert alarms(setup_of(network, digits)) == {}


def test_a_branch_both_of_whose_layers_start_at_zero_is_dead(digits):
    """Each keeps the gradients of the other at zero for ever."""
    found = alarms(setup_of(Residual(zeros=("inner", "outer")), digits))
    assert (found["gradients"].verdict, found["updates"].verdict) == ("broken", "broken")
    assert "outer.weight" in found["gradients"].sentence or "inner.weight" in found["gradients"].sentence


def test_a_layer_that_is_cut_off_behind_a_head_of_zeros_is_dead(digits):
    setup = quick(digits, "model.widths=[8,8]", ZERO_HEAD)
    forward = setup.network.layers[0].forward
    setup.network.layers[0].forward = lambda images: forward(images).detach()
    finding = checks.check_gradients(setup, observe(setup))
    assert (finding.verdict, "layers.0.weight and 0 more" in finding.sentence) == ("broken", True)


def test_a_norm_that_ignores_its_mode_is_seen_behind_a_branch_of_zeros(digits):
    network = Residual(zeros=("norm.weight",), norm=True)
    network.norm.train = lambda mode=True: network.norm
    finding = checks.check_modes(setup := setup_of(network, digits), observe(setup))
    assert (finding.verdict, "evaluation mode updates" in finding.sentence) == ("broken", True)


@pytest.mark.parametrize("name", ["mnist/pretrained-frozen", "mnist/contrastive-probe"])
def test_layers_that_a_technique_keeps_are_not_dead(digits, name):
    techniques = Techniques(linear_probe=recipe.load(name).techniques.linear_probe)
    setup = quick(digits)
    setup = replace(setup, recipe=setup.recipe.model_copy(update={"techniques": techniques}))
    finding = checks.check_gradients(setup, observe(setup))
    assert finding.verdict == "ok"
    assert "get one only without the recipe's techniques" in finding.sentence


@pytest.mark.parametrize(("count", "batch_size"), [(80, 16), (20, 4), (10, 2), (4, 1)])
def test_a_very_small_training_set_is_healthy(digits, count, batch_size):
    few = replace(digits, train_images=digits.train_images[:count], train_labels=digits.train_labels[:count])
    setup = quick(few, f"batch_size={batch_size}")
    seen = observe(setup)
    for check in (checks.check_labels, checks.check_modes, checks.check_gradients, checks.check_initial_loss):
        assert check(setup, seen).verdict == "ok"


def test_a_class_that_is_missing_is_suspicious(digits):
    here = digits.train_labels != 3
    setup = quick(replace(digits, train_images=digits.train_images[here], train_labels=digits.train_labels[here]))
    finding = checks.check_labels(setup, observe(setup))
    assert (finding.verdict, "far from equal" in finding.sentence) == ("suspicious", True)


def test_a_network_that_is_small_or_regularised_is_not_broken_for_that(digits):
    setup = quick(digits, "model.dropout={input: 0.2, blocks: 0.5, head: 0.5}")
    finding = fitting.memorise(setup, observe(setup), 100)
    assert (finding.verdict, "strongly regularised" in finding.sentence) == ("suspicious", True)


def test_memorising_tries_another_rate_of_adam(digits, monkeypatch):
    setup = quick(digits)
    monkeypatch.setattr(fitting, "MEMORISING_RATES", (1e-9, 2e-3))
    finding = fitting.memorise(setup, observe(setup), 4)
    assert (finding.verdict, finding.sentence.endswith("of Adam at 0.002")) == ("ok", True)


NOTHING = fitting.Sweep((0.01, 0.1, 1.0), (2.3, 2.29, 2.31), {})
TOO_HIGH = fitting.Sweep((0.01, 0.03, 0.1), (2.3, 1.0, 2.5), {})
NO_NUMBERS = fitting.Sweep((), (), {})


@pytest.mark.parametrize("sweep", [NOTHING, TOO_HIGH, NO_NUMBERS])
@pytest.mark.parametrize(("has_learnt", "verdict"), [(True, "ok"), (False, "broken")])
def test_a_training_at_the_recipe_s_rate_decides_where_the_range_test_finds_it_broken(sweep, has_learnt, verdict):
    held = fitting.Held(steps=50, before=2.3, after=2.2, has_learnt=has_learnt)
    finding = fitting.check_rate(recipe.load("digits/quick"), sweep, lambda: held)
    assert finding.verdict == verdict
    assert ("lowers the loss from 2.3 to 2.2 in 50 steps" in finding.sentence) == has_learnt


@pytest.mark.parametrize(("rate", "has_learnt"), [("0.1", True), ("30", False), ("1e-6", False)])
def test_a_training_at_a_constant_rate(digits, rate, has_learnt):
    setup = quick(digits, f"optimizer.lr={rate}")
    assert fitting.hold(setup, observe(setup)).has_learnt == has_learnt


def test_a_training_that_learns_only_how_frequent_the_classes_are_has_not_learnt(digits):
    skewed = replace(digits, train_labels=np.where(digits.train_labels > 1, 0, digits.train_labels))
    setup = quick(skewed, "model.widths=[8]")
    seen = observe(setup)
    blank = replace(seen, images=torch.zeros_like(seen.images))
    held = fitting.hold(setup, blank)
    assert held.after < held.before
    assert not held.has_learnt


def judged(setup):
    """Whether the range test lowers the loss, and the verdict on the learning rate."""
    seen = observe(setup)
    sweep = fitting.range_test(setup, seen)
    finding = fitting.check_rate(setup.recipe, sweep, partial(fitting.hold, setup, seen))
    return sweep.losses[sweep.best] < 0.95 * sweep.losses[0], finding.verdict


def test_a_rate_that_needs_longer_than_the_range_test_is_not_broken(digits):
    assert judged(quick(digits, "batch_size=1", "optimizer.lr=0.003")) == (False, "ok")


@pytest.mark.slow
def test_the_muon_recipe_is_not_broken_for_being_narrow():
    """So small a head has not learnt when the range test ends."""
    if sources.source("cifar10").find(sources.default_folder()) is None:
        pytest.skip("cifar10 is missing; PACELINE_DATA names the folder with the data sets")
    whole = sources.load("cifar10", sources.default_folder(), download=False)
    few = replace(whole, train_images=whole.train_images[:4000], train_labels=whole.train_labels[:4000])
    chosen = recipe.load("cifar10/airbench94-muon", ["model.widths=[8,16,16]", "precision=float32"])
    assert judged(set_up(chosen, few, World())) == (False, "ok")


def test_a_change_is_relative_to_the_weights_or_to_what_is_usual_where_they_are_at_zero():
    change = torch.full((12, 4), 1.0)
    assert weights.relative(change, torch.full((12, 4), 10.0)) == pytest.approx(0.1)
    assert weights.relative(change, torch.zeros(12, 4)) == pytest.approx(change.norm().item() / 2)
    torch.manual_seed(0)
    layer = torch.nn.Linear(100, 300).weight.detach()
    assert layer.norm().item() == pytest.approx(10, rel=0.01), "the usual norm: sqrt(300 / 3)"


def test_a_large_batch_is_trained_once_on_a_cpu(digits):
    many = replace(
        digits, train_images=np.repeat(digits.train_images, 2, 0), train_labels=np.repeat(digits.train_labels, 2)
    )
    setup = quick(many, "batch_size=1000")
    seen = observe(setup)
    assert (seen.trial.steps, len(seen.trial.epochs), len(seen.labels)) == (1, 1, 1000)
    measured = costs.measure(setup, seen)
    assert min(measured.compute_per_step, measured.evaluations) > 0
