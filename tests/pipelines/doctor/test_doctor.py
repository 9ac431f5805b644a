"""Healthy recipes pass; each planted fault is found by the check that is there for it."""

import math
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pipelines import doctor, recipe
from pipelines.data import sources
from pipelines.distributed.process_group import World
from pipelines.doctor import checks, costs, fitting
from pipelines.doctor.findings import Finding, worst
from pipelines.doctor.short_trial import _Watch, observe, shortened, stratified
from pipelines.models.dropout import Dropout
from pipelines.recipe.training import Resolution
from pipelines.train import set_up
from tests.pipelines.calling import calling

DAVIDNET = [
    "model.widths=[8,8,8,8]",
    "model.norm.group_size=8",
    "model.whitening.images=40",
    "batch_size=16",
    "precision=float32",
    "optimizer.lr=0.1",
]


def quick(*overrides):
    return recipe.load("digits/quick", ["model.widths=[16]", *overrides])


def setup_for(dataset, *overrides):
    return set_up(quick(*overrides), dataset, World())


def observed(setup):
    seen = observe(setup)
    setup.network.load_state_dict(seen.start)
    return seen


@pytest.fixture(scope="module")
def healthy(digits):
    setup = setup_for(digits)
    return setup, observed(setup)  # not on the weights that its short trial ends with


def verdicts(examination):
    return {finding.check: finding.verdict for finding in examination.findings}


def test_a_healthy_recipe_passes_every_check(digits):
    found = verdicts(doctor.examine(setup_for(digits)))
    assert set(found.values()) == {"ok"}, found
    assert {"pixels", "labels", "initial loss", "softmax", "modes", "gradients", "learning rate"} < set(found)
    assert {"updates", "time", "memorise 1", "memorise 4", "memorise 100"} < set(found)


@pytest.mark.slow
def test_a_network_with_norms_passes_every_check(coloured):
    chosen = recipe.load("cifar10/davidnet-10", DAVIDNET)
    examination = doctor.examine(set_up(chosen, coloured, World()))
    assert doctor.worst(examination.findings) != "broken", examination.findings
    assert verdicts(examination)["modes"] == "ok"


def test_the_softmax_is_found_when_it_is_applied_twice(digits):
    setup = setup_for(digits)
    double = calling(setup, lambda images: setup.network(images).softmax(1))
    finding = checks.check_logits(double, observed(double))
    assert finding.verdict == "broken"
    assert "applied twice" in finding.sentence


def test_log_probabilities_are_suspicious_only(digits):
    setup = setup_for(digits)
    logged = calling(setup, lambda images: setup.network(images).log_softmax(1))
    assert checks.check_logits(logged, observed(logged)).verdict == "suspicious"


def davidnet(dataset):
    return set_up(recipe.load("cifar10/davidnet-10", DAVIDNET), dataset, World())


def test_a_trial_that_forgets_the_evaluation_mode_is_found(coloured, monkeypatch):
    setup = davidnet(coloured)
    monkeypatch.setattr(setup.network, "eval", lambda: setup.network)
    finding = checks.check_modes(setup, observed(setup))
    assert (finding.verdict, "network.eval() is forgotten" in finding.sentence) == ("broken", True)


def test_a_network_whose_norms_ignore_the_evaluation_mode_is_found(coloured):
    setup = davidnet(coloured)
    healthy = checks.check_modes(setup, observed(setup))
    assert (healthy.verdict, healthy.sentence) == ("ok", "they differ")
    for module in setup.network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.train = lambda mode=True, module=module: module
    finding = checks.check_modes(setup, observed(setup))
    assert (finding.verdict, "company" in finding.sentence) == ("broken", True)


def test_modes_are_told_apart_where_outputs_share_their_memory(coloured):
    """As those of a network with CUDA graphs do."""
    setup, memory = davidnet(coloured), {}

    def forward(images):
        logits = setup.network(images)
        return memory.setdefault(logits.shape, torch.empty_like(logits)).copy_(logits)

    assert checks.check_modes(calling(setup, forward), observed(setup)).sentence == "they differ"


def test_dropout_that_ignores_the_evaluation_mode_is_found(healthy):
    setup, seen = healthy
    always = calling(setup, lambda images: torch.nn.functional.dropout(setup.network(images), 0.5))
    finding = checks.check_modes(always, seen)
    assert (finding.verdict, "at random" in finding.sentence) == ("broken", True)


@pytest.mark.parametrize(("rate", "verdict"), [(0.5, "suspicious"), (0.0, "ok")])
def test_dropout_that_never_acts_is_found(digits, rate, verdict):
    setup = setup_for(digits, "model.dropout={head: 0.5}")
    seen = observed(setup)
    for module in setup.network.modules():
        if isinstance(module, Dropout):
            module.set_rate(rate)
            module.forward = lambda values: values
    finding = checks.check_modes(setup, seen)
    assert (finding.verdict, "do the same" in finding.sentence) == (verdict, verdict == "suspicious")


@pytest.mark.parametrize("mapping", [lambda labels: (labels + 1) % 10, lambda labels: 9 - labels])
def test_a_wrong_label_mapping_is_found(digits, mapping):
    setup = setup_for(replace(digits, train_labels=mapping(digits.train_labels)))
    finding = checks.check_labels(setup, observed(setup))
    assert (finding.verdict, "label mappings" in finding.sentence) == ("broken", True)


def test_two_classes_with_each_other_s_name_are_found(digits):
    swapped = digits.test_labels.copy()
    swapped[digits.test_labels == 3], swapped[digits.test_labels == 8] = 8, 3
    setup = setup_for(replace(digits, test_labels=swapped))
    finding = checks.check_labels(setup, observed(setup))
    assert finding.verdict == "broken"
    assert "3 looks like 8, 8 looks like 3" in finding.sentence


def test_a_label_without_a_class_is_found(digits, healthy):
    setup, seen = healthy
    strange = replace(setup, dataset=replace(digits, test_labels=digits.test_labels + 5))
    assert "labels [10, 11, 12, 13, 14] name none" in checks.check_labels(strange, seen).sentence


def kill(setup):
    """Biases so low that no ReLU ever opens."""
    reset = setup.network.layers[0].reset_parameters

    def dead():
        reset()
        torch.nn.init.constant_(setup.network.layers[0].bias, -1e3)

    setup.network.layers[0].reset_parameters = dead


def test_a_dead_network_is_found(digits):
    setup = setup_for(digits)
    kill(setup)
    seen = observed(setup)
    gradients = checks.check_gradients(setup, seen)
    assert (gradients.verdict, "dead" in gradients.sentence) == ("broken", True)
    assert fitting.memorise(setup, seen, 100).verdict == "broken"


def test_a_far_too_high_rate_is_found(digits):
    findings = verdicts(doctor.examine(setup_for(digits, "optimizer.lr=20")))
    assert findings["learning rate"] == "broken"
    assert findings["memorise 100"] == "ok", "the network is not to blame"


def test_a_far_too_low_rate_is_suspicious(digits):
    setup = setup_for(digits, "optimizer.lr=1e-5")
    seen = observe(setup)
    sweep = fitting.range_test(setup, seen)
    finding = fitting.check_rate(setup.recipe, sweep, partial(fitting.hold, setup, seen))
    assert finding.verdict in ("broken", "suspicious")


def test_labels_that_say_nothing_can_not_be_memorised_by_a_network_without_enough_weights(digits):
    setup = setup_for(digits)
    blind = calling(setup, lambda images: setup.network(images.mean((2, 3), keepdim=True).expand_as(images)))
    finding = fitting.memorise(blind, observed(setup), 100)
    assert (finding.verdict, "only" in finding.sentence) == ("broken", True)


def test_the_initial_loss_is_measured_against_the_classes(healthy):
    setup, seen = healthy
    assert checks.check_initial_loss(setup, seen).verdict == "ok"
    loud = calling(setup, lambda images: 100 * setup.network(images))
    assert checks.check_initial_loss(loud, seen).verdict == "broken"


@pytest.mark.parametrize(("factor", "verdict"), [(1, "ok"), (73, "suspicious"), (0, "broken"), (math.nan, "broken")])
def test_pixels_should_be_normalised(healthy, factor, verdict):
    setup, seen = healthy
    assert checks.check_pixels(setup, replace(seen, images=seen.images * factor)).verdict == verdict


def test_gradients_that_vanish_on_the_way_are_suspicious(healthy):
    setup, seen = healthy
    first = next(iter(seen.gradients))
    fading = replace(seen, gradients=seen.gradients | {first: seen.gradients[first] * 1e-7})
    assert checks.check_gradients(setup, seen).verdict == "ok"
    assert checks.check_gradients(setup, fading).verdict == "suspicious"
    assert "vanishing" in checks.check_gradients(setup, fading).sentence


@pytest.mark.parametrize(
    ("updates", "verdict"),
    [
        ({"a": 1e-3}, "ok"),
        ({"a": 1e-3, "b": 0.5}, "suspicious"),
        ({"a": 2.0}, "broken"),
        ({"a": 0.0}, "broken"),
        ({}, "broken"),
    ],
)
def test_updates_are_compared_with_the_weights(updates, verdict):
    assert checks.check_updates(updates).verdict == verdict


def test_the_update_of_plain_sgd_is_rate_times_gradient(digits):
    """At the recipe's own rate, whatever the range test did before: a step is bounded by what its rate allows."""
    setup = setup_for(digits, "optimizer.momentum=0", "optimizer.nesterov=false", "optimizer.lr=1e-3")
    doubled = setup_for(digits, "optimizer.momentum=0", "optimizer.nesterov=false", "optimizer.lr=2e-3")
    one, two = (fitting.range_test(each, observe(each)).updates for each in (setup, doubled))
    assert two["head.weight"] == pytest.approx(2 * one["head.weight"], rel=0.1)


def test_the_gradients_are_those_of_the_mean_loss(digits):
    mean, total = (observe(setup_for(digits, f"loss.reduction={name}")) for name in ("mean", "sum"))
    assert mean.gradients.keys() == total.gradients.keys()
    for name, gradient in mean.gradients.items():
        assert torch.allclose(gradient, total.gradients[name], atol=1e-6)


def test_what_is_observed_is_the_trial_s_own(digits, healthy):
    _, seen = healthy
    assert seen.modes == {True: {True}, False: {False}}
    assert len(seen.images) == len(seen.labels) == 1024
    assert seen.trial.steps == 16 + 10
    assert seen.images.shape[1:] == digits.image_shape


def test_a_small_training_set_is_taken_whole_and_the_pool_is_cut(digits):
    short = shortened(replace(digits, train_images=digits.train_images[:90], train_labels=digits.train_labels[:90]), 64)
    assert (len(short.train_labels), len(short.test_labels)) == (64, 200)
    assert len(shortened(digits, 5000).train_labels) == 1437


def test_the_range_test_s_readings():
    """Down by the square of the steps, then up: steepest just before the bottom, lost where the start is passed."""
    losses = [2.0 - (step / 50) ** 2 for step in range(60)] + [1.0, 2.5]
    sweep = fitting.Sweep(tuple(10.0**step for step in range(62)), tuple(losses), {})
    assert sweep.best == 59
    assert sweep.suggestion == 10.0**59
    assert sweep.falls_apart == 10.0**61


def test_costs_add_up():
    found = costs.Costs(data_per_step=0.003, compute_per_step=0.001, steps=100, evaluations=2.0)
    assert found.training == pytest.approx(0.4)
    assert costs.check_costs(found).verdict == "suspicious"
    assert "75% of it for data" in costs.check_costs(found).sentence


def test_the_share_of_a_loader_that_works_meanwhile_is_not_known(healthy):
    setup, seen = healthy
    chosen = quick("loader={name: torchvision, workers: 0}")
    for one, said in ((setup, "of it for data"), (replace(setup, recipe=chosen), "ms, loading included; ")):
        assert said in costs.check_costs(costs.measure(one, seen)).sentence


def test_the_worst_verdict_counts():
    found = [Finding("a", "ok", ""), Finding("b", "broken", ""), Finding("c", "suspicious", "")]
    assert worst(found) == "broken"
    assert worst([]) == "ok"


@pytest.mark.parametrize(("crop", "side"), [(None, 6), (6, 6), (6, 4)])
def test_labels_are_compared_in_the_size_of_what_is_fed(healthy, crop, side):
    """As under `augment.resolution`, which begins with small images."""
    setup, seen = healthy
    resolution = Resolution(epochs=(0,), sizes=(side,), crops=crop and (crop,))
    augment = setup.recipe.augment.model_copy(update={"resolution": resolution})
    begun = replace(setup, recipe=setup.recipe.model_copy(update={"augment": augment}))
    cut = seen.images[:, :, 1:7, 1:7] if crop else seen.images
    small = replace(seen, images=torch.nn.functional.interpolate(cut, (side, side), mode="bilinear"))
    assert checks.check_labels(begun, small).verdict == "ok"
    wrong = checks.check_labels(begun, replace(small, labels=9 - small.labels))
    assert "label mappings" in wrong.sentence


def images_of(means, count, seed):
    """By class: so many noisy images (count, pixels) with a mean each."""
    generator = np.random.default_rng(seed)
    return {number: mean + generator.normal(size=(count, means.shape[1])) for number, mean in enumerate(means)}


def test_classes_that_chance_confuses_are_not_called_confused():
    """A hundred classes, of which twenty groups of five look all the same."""
    means = np.repeat(np.random.default_rng(0).normal(size=(20, 48)), 5, axis=0)
    fed, tests = images_of(means, 40, seed=1), images_of(means, 40, seed=2)
    assert checks.confused(fed, tests) == []
    swapped = fed | {0: fed[99], 99: fed[0]}
    assert {pair[0] for pair in checks.confused(swapped, tests)} >= {0, 99}


@pytest.mark.parametrize("name", ["digits", "mnist", "cifar10"])
def test_chance_confuses_no_classes_of_published_images_and_shifted_labels_are_seen(name):
    folder = sources.default_folder()
    if sources.source(name).find(folder) is None:
        pytest.skip(f"{name} is not in {folder}; PACELINE_DATA names the folder with the data sets")
    dataset = sources.load(name, folder, download=False)
    images = dataset.train_images.reshape(len(dataset.train_images), -1) / np.float32(255)
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(len(images))
        of_class = [order[dataset.train_labels[order] == number] for number in range(10)]
        half = min(100, min(map(len, of_class)) // 2)
        fed, tests = (
            {number: images[of[begin : begin + half]] for number, of in enumerate(of_class)} for begin in (0, half)
        )
        assert checks.confused(fed, tests) == []
        shifted = {number: fed[(number + 1) % 10] for number in fed}
        assert checks.confused(shifted, tests) == [(number, (number + 1) % 10) for number in range(10)]


def test_classes_of_few_images_are_not_compared(digits, healthy):
    setup, seen = healthy
    few = seen.labels.argsort(stable=True)[torch.arange(0, len(seen.labels), 8)]
    finding = checks.check_labels(setup, replace(seen, images=seen.images[few], labels=9 - seen.labels[few]))
    assert finding.verdict == "ok"
    assert "of 0 classes with 30 images or more none looks like another" in finding.sentence


def test_of_many_classes_more_images_are_taken_and_of_each_as_many(digits):
    many = replace(
        digits,
        train_images=np.repeat(digits.train_images, 5, axis=0)[:6000],
        train_labels=np.arange(6000) % 20,
        class_names=tuple(map(str, range(20))),
    )
    assert set(np.bincount(shortened(many, 50).train_labels)) == {100}
    assert len(shortened(replace(many, class_names=tuple(map(str, range(1000)))), 50).train_labels) == 6000


def test_images_are_taken_in_proportion_and_at_random():
    labels = np.repeat([0, 1, 2], [10, 50, 40])
    chosen = stratified(labels, 50)
    assert np.bincount(labels[chosen]).tolist() == [5, 25, 20]
    assert len(set(chosen.tolist())) == 50
    assert chosen.tolist() != sorted(chosen.tolist())
    assert chosen.tolist() == stratified(labels, 50).tolist()
    assert sorted(stratified(labels, 100).tolist()) == list(range(100))


def test_memorising_knows_nothing_of_the_scaling_of_the_learning_rate():
    scaled = quick("batch_size=64", "scaling={reference_batch: 32, warmup_epochs: 0}")
    assert fitting.plain(scaled, 1).scaling is None


def test_the_range_test_is_of_the_rate_that_the_recipe_trains_at(digits):
    words = ("optimizer.momentum=0", "optimizer.nesterov=false", "optimizer.lr=1e-3", "batch_size=64")
    plain, scaled = (setup_for(digits, *words, *more) for more in ((), ("scaling={reference_batch: 32}",)))
    one, two = (fitting.range_test(each, observe(each)) for each in (plain, scaled))
    assert two.updates["head.weight"] == pytest.approx(2 * one.updates["head.weight"], rel=0.1)
    assert one.rates == two.rates, "both are optimizer.lr"


def gradients_seen(optimizer, *gradients, scale):
    """What is kept of gradients of one weight at step after step."""
    network, watch = torch.nn.Linear(1, 1, bias=False), _Watch()
    for step, gradient in enumerate(gradients):
        network.weight.grad = torch.full_like(network.weight, gradient)
        state = SimpleNamespace(network=network, optimizer=optimizer, gradient_scale=scale, epoch=0, step=step)
        watch.gradients_ready(state)
    return watch.gradients["weight"].item()


def test_gradients_are_divided_by_what_they_were_multiplied_by():
    assert gradients_seen(SimpleNamespace(), 64.0, 1.0, scale=32) == 2.0
    scaler = SimpleNamespace(get_scale=lambda: 1024.0)
    assert gradients_seen(SimpleNamespace(scaler=scaler), 2048.0, 1.0, scale=32) == 2.0


def test_a_step_that_the_scaler_leaves_out_is_not_looked_at():
    scaler = SimpleNamespace(get_scale=lambda: 1024.0)
    assert gradients_seen(SimpleNamespace(scaler=scaler), math.inf, math.nan, 2048.0, 1.0, scale=32) == 2.0


def test_every_evaluation_is_counted(healthy):
    setup, seen = healthy

    def evaluations(every):
        evaluation = setup.recipe.evaluation.model_copy(update={"every": every})
        chosen = setup.recipe.model_copy(update={"epochs": 15, "evaluation": evaluation})
        return costs.measure(replace(setup, recipe=chosen), seen).evaluations

    assert evaluations(10) == pytest.approx(evaluations(1) * 2 / 15), "after epoch 10, and at the end"


def test_the_steps_of_the_first_epoch_are_counted_where_batches_are_thinned_out(digits):
    selection = "techniques.batch_selection={keep: 0.5, proxy: {name: convnet, widths: [4]}}"
    seen = observe(setup_for(digits, selection))
    assert (seen.steps, len(seen.labels)) == (16, 512)


def test_a_network_that_gives_no_numbers_is_broken(digits):
    setup = setup_for(digits, "model.widths=[8,8]", "initialization.gain=1e30")
    examination = doctor.examine(setup)
    found = verdicts(examination)
    broken = {"initial loss", "softmax", "modes", "learning rate", "memorise 1", "memorise 4"}
    assert {found[check] for check in broken} == {"broken"}, examination.findings
    assert examination.sweep.suggestion is None
