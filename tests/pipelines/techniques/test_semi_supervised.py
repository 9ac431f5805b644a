"""The techniques that learn from images without labels."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pipelines import recipe
from pipelines.data.split import labelled_fraction
from pipelines.distributed.process_group import World
from pipelines.events import State
from pipelines.models.dropout import Dropout
from pipelines.recipe import techniques
from pipelines.recipe.techniques import SelfTraining
from pipelines.techniques.fixmatch import FixMatch, consistency
from pipelines.techniques.mean_teacher import MeanTeacher, disagreement, follow
from pipelines.techniques.self_training import admit, admitted_share
from pipelines.techniques.semi_supervised import probabilities, ramp_up
from pipelines.train import run_trial, set_up
from pipelines.warmup import warm_up

TECHNIQUES = {
    "self_training": "{start_epoch: 0, end_epoch: 2, ratio: 1}",
    "fixmatch": "{ratio: 1, threshold: 0.1, strong: {crop: 1, cutout: 3}}",
    "mean_teacher": "{ratio: 1, ramp_up_epochs: 1, views: {crop: 1}}",
    "masked_image": "{epochs: 1, patch: 2}",
    "contrastive": "{epochs: 1, queue: 128, views: {crop: 2}}",
}


def quick(*overrides):
    return recipe.load("digits/quick", ["epochs=3", "schedule={name: constant}", "optimizer.lr=0.05", *overrides])


@pytest.fixture(scope="module")
def partly_labelled(digits):
    return labelled_fraction(digits, 0.2, seed=0)


@pytest.fixture(scope="module")
def trained(partly_labelled):
    """The outcome of a training with a technique, or with none, each trained once."""
    return cache(lambda *technique: outcome(train(quick(*technique), partly_labelled)))


def train(chosen, dataset, seed=0):
    return run_trial(set_up(chosen, dataset, World()), seed)


def outcome(trial):
    return [(epoch.train_loss, epoch.accuracy) for epoch in trial.epochs]


def test_the_most_confident_images_are_admitted():
    confidence = torch.tensor([0.2, 0.9, 0.5, 0.95, 0.7])
    assert set(admit(confidence, 0.4).tolist()) == {1, 3}
    assert len(admit(confidence, 0.0)) == 0
    assert len(admit(confidence, 1.0)) == 5


def test_the_admitted_share_rises_in_a_straight_line():
    config = SelfTraining(start_epoch=1, end_epoch=5)
    assert [admitted_share(epoch, config) for epoch in range(8)] == [0, 0, 0.25, 0.5, 0.75, 1, 1, 1]
    assert admitted_share(3, SelfTraining(start_epoch=1, end_epoch=5, share=0.6)) == pytest.approx(0.3)


def test_self_training_must_end_after_its_start():
    with pytest.raises(ValueError, match="end_epoch=2 is not after start_epoch=2"):
        quick("techniques.self_training={start_epoch: 2, end_epoch: 2}")


def test_only_certain_images_have_a_consistency_loss():
    weak = torch.tensor([[5.0, 0, 0], [0.1, 0, 0]])
    strong = torch.randn(2, 3, requires_grad=True)
    loss, share = consistency(weak, strong, 0.9)
    assert share == 0.5
    assert loss.item() == pytest.approx(F.cross_entropy(strong[:1], torch.tensor([0])).item() / 2)
    loss.backward()
    assert strong.grad[0].abs().sum() > 0
    assert strong.grad[1].abs().sum() == 0


def test_the_weak_view_and_the_teacher_get_no_gradient():
    weak, strong = (torch.randn(4, 3, requires_grad=True) for _ in range(2))
    (consistency(weak, strong, 0.0)[0] + disagreement(strong, weak)).backward()
    assert weak.grad is None
    assert strong.grad is not None


def test_the_teacher_follows_the_student():
    teacher, student = [torch.zeros(3)], [torch.ones(3)]
    follow(teacher, student, 0.75)
    assert torch.equal(teacher[0], torch.full((3,), 0.25))


def test_the_consistency_weight_is_ramped_up():
    assert ramp_up(0, 4) == pytest.approx(np.exp(-5))
    assert ramp_up(2, 4) == pytest.approx(np.exp(-1.25))
    assert ramp_up(4, 4) == ramp_up(9, 4) == ramp_up(0, 0) == 1


@pytest.mark.parametrize("name", TECHNIQUES)
def test_the_labels_of_the_pool_are_never_seen(name, partly_labelled, trained):
    technique = f"techniques.{name}={TECHNIQUES[name]}"
    scrambled = replace(partly_labelled, pool_labels=np.random.default_rng(0).permutation(partly_labelled.pool_labels))
    assert trained(technique) == outcome(train(quick(technique), scrambled))


@pytest.mark.parametrize("name", TECHNIQUES)
def test_the_pool_is_learnt_from(name, partly_labelled, trained):
    technique = f"techniques.{name}={TECHNIQUES[name]}"
    assert trained(technique) != trained()
    other_pool = replace(partly_labelled, pool_images=255 - partly_labelled.pool_images)
    assert trained(technique) != outcome(train(quick(technique), other_pool))


@pytest.mark.parametrize("name", TECHNIQUES)
def test_a_trial_repeats_after_a_warm_up(name, partly_labelled):
    setup = set_up(quick(f"techniques.{name}={TECHNIQUES[name]}"), partly_labelled, World())
    first = outcome(run_trial(setup, seed=1))
    warm_up(setup)
    assert outcome(run_trial(setup, seed=1)) == first


@pytest.mark.parametrize("name", TECHNIQUES)
def test_without_unlabelled_images_it_is_refused(name, digits):
    with pytest.raises(ValueError, match="needs digits images without labels, and data.fraction leaves none"):
        train(quick(f"techniques.{name}={TECHNIQUES[name]}"), digits)


def test_self_training_notes_what_it_admitted_and_how_much_was_right(partly_labelled):
    notes = train(quick(f"techniques.self_training={TECHNIQUES['self_training']}"), partly_labelled).notes
    pool = len(partly_labelled.pool_labels)
    assert [(entry["epoch"], entry["admitted"]) for entry in notes["self_training"]] == [
        (2, round(pool / 2)),
        (3, pool),
    ]
    assert all(0 < entry["right"] <= entry["admitted"] for entry in notes["self_training"])


def test_pretraining_has_a_lap_of_its_own(partly_labelled):
    trial = train(quick(f"techniques.masked_image={TECHNIQUES['masked_image']}"), partly_labelled)
    assert [lap.name for lap in trial.laps].count("pretrain") == 1
    assert all(lap.name != "pretrain" for lap in train(quick(), partly_labelled).laps)


@pytest.mark.parametrize("mixing", ["mixup={}", "cutmix={}"])
def test_labels_that_the_network_gave_are_mixed_like_the_others(mixing, partly_labelled):
    config = f"techniques.self_training={TECHNIQUES['self_training']}"
    setup = set_up(quick(config, f"techniques.{mixing}"), partly_labelled, World())
    warm_up(setup)
    assert len(run_trial(setup, seed=0).notes["self_training"]) == 2


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["techniques.self_training={start_epoch: 0, end_epoch: 3, cycle: 2}"], "cycle=2 does not divide the 3 epochs"),
        (["techniques.self_training={cycle: 9}"], "cycle=9 does not divide the 4 epochs"),
        (
            ["techniques={self_training: {}, data_pruning: {}}"],
            "data_pruning needs the loss of each image, and techniques.self_training adds images",
        ),
        (["techniques.self_training={}", "loss.reduction=sum"], "set loss.reduction=mean"),
        *(
            (
                [f"techniques={{self_training: {{reinitialize: true}}, {other}: {{}}}}"],
                f"techniques.{other} .*, and techniques.self_training.reinitialize=true draws new weights",
            )
            for other in ("ema", "swa", "lookahead", "reduce_on_plateau", "pretrained")
        ),
    ],
)
def test_what_self_training_does_not_go_with(overrides, message):
    with pytest.raises(recipe.RecipeError, match=message):
        quick(*overrides)


@pytest.mark.parametrize("name", ["self_training", "fixmatch", "mean_teacher"])
def test_unlabelled_images_join_no_batch_of_smaller_ones(name):
    smaller = "augment.resolution={epochs: [0, 1], sizes: [6, 8]}"
    with pytest.raises(recipe.RecipeError, match=f"techniques.{name} adds .*: set augment.resolution=null"):
        quick(smaller, f"techniques.{name}={TECHNIQUES[name]}")


def test_averages_go_with_a_self_training_that_keeps_its_weights():
    quick("techniques={self_training: {}, ema: {}, lookahead: {}}")


class TwiceAsMuch(World):
    """Two processes, of which the other has three times the values of this one: the mean is twice them."""

    def sum(self, values):
        return 4 * values


def test_the_statistics_of_a_teacher_are_the_mean_over_the_processes():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    state = State(quick(), network, network, None, seed=0, steps=9, steps_per_epoch=3, world=TwiceAsMuch(0, 2))
    state.pool = lambda: None
    technique = MeanTeacher(techniques.MeanTeacher(views={"crop": 1}))
    technique.trial_start(state)
    network(torch.randn(4, 1, 8, 8))
    technique._teacher.load_state_dict(network.state_dict())
    technique.evaluation_start(state)
    assert state.predict is technique._teacher
    for name in ("running_mean", "running_var"):
        assert torch.equal(getattr(technique._teacher[1], name), 2 * getattr(network[1], name))


def test_processes_label_by_the_mean_of_their_statistics():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten())
    state = State(quick(), network, network, None, seed=0, steps=9, steps_per_epoch=3, world=TwiceAsMuch(0, 2))
    network(torch.randn(4, 1, 8, 8))
    alone = network[1].running_mean.clone()
    probabilities(network, torch.randn(4, 1, 8, 8), state)
    assert torch.equal(network[1].running_mean, 2 * alone)


def test_fixmatch_notes_the_certain_share_of_all_processes():
    state = State(quick(), nn.Module(), None, None, seed=0, steps=2, steps_per_epoch=2, world=TwiceAsMuch(0, 2))
    technique = FixMatch(techniques.FixMatch(strong={}))
    technique._shares = [torch.tensor(0.1), torch.tensor(0.3)]
    technique.trial_end(state)
    assert state.notes["fixmatch"] == {"certain_share_per_epoch": [0.4]}


class TeacherRates:
    """Writes down the rates of dropout of student and teacher after each step."""

    def __init__(self):
        self.seen = []

    def step_end(self, state):
        teacher = state.objective.__self__._teacher
        self.seen.append([rates_of(network) for network in (state.network, teacher)])


def rates_of(network):
    return [1 - module.keep.item() for module in network.modules() if isinstance(module, Dropout)]


def test_the_teacher_s_dropout_rises_with_the_student_s(partly_labelled):
    rates = TeacherRates()
    mean_teacher = f"mean_teacher: {TECHNIQUES['mean_teacher']}"
    chosen = quick("model.dropout={head: 0.5}", f"techniques={{progressive_dropout: {{end_epoch: 2}}, {mean_teacher}}}")
    run_trial(set_up(chosen, partly_labelled, World()), 0, observers=[rates])
    assert all(student == teacher for student, teacher in rates.seen)
    assert 0 < rates.seen[0][1][0] < rates.seen[-1][1][0] == pytest.approx(0.5)
