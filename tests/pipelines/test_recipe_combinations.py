"""Recipes of options drawn at random: a line that refuses them, or trials that repeat themselves bit for bit.

Two and more options that are right each for itself have been the place of most faults of the training.
"""

from datetime import timedelta
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from pipelines import recipe
from pipelines.data import split
from pipelines.distributed.process_group import World
from pipelines.recipe.parallel import STRATEGIES
from pipelines.recipe.techniques import Techniques
from pipelines.train import run_trial, set_up
from pipelines.warmup import warm_up
from tests.pipelines.processes import in_processes
from tests.pipelines.test_trials_in_a_row import outcome, same

pytestmark = pytest.mark.campaign
FUZZ = settings(
    max_examples=1500, deadline=timedelta(minutes=2), suppress_health_check=list(HealthCheck), database=None
)

BASE = """
title: drawn at random
data: {name: arrays, path: coloured.npz}
target: 0.5
epochs: 2
batch_size: 16
model: {name: convnet}
optimizer: {name: sgd, lr: 0.05}
"""
PATCHES_OF_2 = "whitening: {kernel_size: 2, padding: 0, bias: true, images: 40}"
MODELS = [
    "model={name: convnet, widths: [4, 8]}",
    "model={name: convnet, widths: [4, 8], norm: {}, hidden: 8, dropout: {blocks: 0.2, head: 0.5}}",
    "model={name: davidnet, widths: [4, 4, 6, 8]}",
    "model={name: davidnet, widths: [4, 4, 6, 8], norm: {group_size: 8}, whitening: {images: 40}}",
    "model={name: davidnet, widths: [16, 16, 16, 16], stochastic_depth: 0.5, dropout: {input: 0.1, head: 0.1}}",
    "model={name: davidnet, widths: [4, 4, 6, 8], pool: {name: fractional}, drop_connect: 0.2}",
    "model={name: airnet, widths: [8, 16, 16], norm: {group_size: 4}, pool: {name: average}}",
    f"model={{name: airnet, widths: [8, 16, 16], norm: {{sync: true}}, {PATCHES_OF_2}}}",
    f"model={{name: airnet, widths: [16, 16, 16], depth: 3, global_pool: true, mean_features: true, {PATCHES_OF_2}}}",
    "model={name: airnet, widths: [8, 8, 8], depth: 3, stochastic_depth: 0.3, dropout: {head: 0.2}}",
    "model={name: resnet18, widths: [4, 4, 8, 8], stochastic_depth: 0.3, duplicate_norm: true}",
    "model={name: wide_resnet, depth: 10, factor: 1, dropout: {blocks: 0.2}}",
    "model={name: alexnet, widths: [4, 4, 4, 4, 4], hidden: 8, kernel_size: 5, stride: 1, dropout: {head: 0.3}}",
]
OPTIMIZERS = [
    "optimizer={name: sgd, lr: 0.05}",
    "optimizer={name: sgd, lr: 0.05, momentum_convention: sutskever, weight_decay: 5e-4, bias_lr_factor: 4}",
    "optimizer={name: sgd, lr: 0.05, depth_lr_factor: 0.9, weight_decay: 1e-3, nesterov: false, momentum: 0}",
    "optimizer={name: adamw}",
    "optimizer={name: adam, bias_lr_factor: 2}",
    "optimizer={name: rmsprop, centered: true, momentum: 0.5}",
    "optimizer={name: adadelta}",
    "optimizer={name: lars, lr: 1}",
    "optimizer={name: lamb, lr: 0.01}",
    "optimizer={name: muon, lr: 0.1, bias_lr: 0.05, head_lr: 0.05, decay: 1e-3, renormalize_growth: 0.1}",
    "optimizer={name: muon, lr: 0.1, bias_lr: 0.05, head_lr: 0.05, coefficients: polar_express, steps: 2}",
]
OTHERS = {
    "precision": ["precision=autocast", "precision=half"],
    "kernels": ["kernels=reference", "kernels=fast"],
    "memory format": ["channels_last=false"],
    "schedule": [
        "schedule={name: piecewise_linear, epochs: [0, 1], values: [1, 0.1], period: 1}",
        "schedule={name: multi_step, milestones: [0.5, 1.5], warm_up: 0.5}",
        "schedule={name: cosine, period: 0.7, floor: 0.1}",
        "schedule={name: one_cycle, anneal: linear, first_step: 1}",
    ],
    "loss": ["loss.label_smoothing=0.2", "loss.reduction=sum", "loss.scaling=dynamic"],
    "augment": [
        "augment={crop: 4, flip: random, cutout: 5}",
        "augment={crop: 2, flip: alternating}",
        "augment={crop: 4, flip: random, draw: even, cutout: 8}",
        "augment={affine: {rotate: 10, scale: 0.1, shear: 5}, elastic: {}}",
        "augment={brightness: 0.2, contrast: 0.3, flip: random, resolution: {epochs: [0, 1], sizes: [24, 32]}}",
        "augment={crop: 2, resolution: {epochs: [0, 1], sizes: [16, 28], crops: [24, 30]}}",
    ],
    "loader": [
        "loader={name: bulk}",
        "loader={name: torchvision, workers: 0}",
        "loader={name: torchvision, workers: 0, preprocess: once, choices: bulk}",
    ],
    "evaluation": [
        "evaluation={tta: flip}",
        "evaluation={tta: crops, tta_share: 0.3, every: 2}",
        "evaluation={train_accuracy: true, per_class: true, batch_size: 7, tta: crops}",
    ],
    "epochs": ["epochs=1.5", "epochs=3", "epochs=0.3"],
    "last batch": ["drop_last=false", "batch_size=24", "batch_size=80"],
    "accumulation": ["accumulation=2", "accumulation=4"],
    "data": ["data.validation=0.2", "data.class_weights=[1, 2, 0]", "data.limit=50", "data.fraction=0.5"],
    "scaling": ["scaling={reference_batch: 8, lr: sqrt, warmup_epochs: 1}"],
    "initialization": [
        "initialization={convolutions: dirac, head: unit_std}",
        "initialization={convolutions: implicit_residual}",
        "initialization={convolutions: orthogonal, head: orthogonal, gain: 1.2}",
    ],
}
TECHNIQUES = {
    "whitening_bias": ["{}", "{epochs: 1, decay: true}"],
    "freeze_out": ["{epochs: [1]}", "{epochs: [0.5, 1.2]}"],
    "batch_selection": ["{proxy: {name: airnet, widths: [4, 4, 4]}, keep: 0.3, every: 2}"],
    "data_pruning": ["{}", "{drop: 1, easy: 0.6, until: 1.5}"],
    "self_training": ["{start_epoch: 0, end_epoch: 1, reinitialize: true, views: {flip: random, crop: 2}}"],
    "mixup": ["{from_epoch: 0.5, until: 1.5}"],
    "cutmix": ["{}", "{size: 3, from_epoch: 1}"],
    "penalty": ["{l1: 1e-3}"],
    "gradient_clipping": ["{norm: 0.5}", "{value: 0.01}"],
    "growing_batch": ["{epochs: [0.4, 1], batches: [2, 3]}"],
    "lookahead": ["{}", "{every: 2, start_epoch: 1}"],
    "progressive_dropout": ["{end_epoch: 1}"],
    "ema": ["{}", "{momentum: 0.9, every: 2, per_epoch: true}"],
    "reduce_on_plateau": ["{patience: 0, threshold: 0.9}"],
    "swa": ["{}", "{start: 0}"],
    "early_stopping": ["{}", "{patience: 1, min_delta: 0.5, restore_best: false}"],
    "ensemble": ["{members: 2}", "{members: 2, restart: fresh}"],
    "layer_scales": ["{images: 20}"],
    "pretrained": ["{epochs: 0.02, views: {crop: 2}}"],
    "masked_image": ["{epochs: 1, batch_size: 16}"],
    "contrastive": ["{epochs: 1, batch_size: 16, queue: 32, views: {crop: 2, flip: random}}"],
    "distillation": ["{epochs: 1, batch_size: 16, feature_weight: 0.1}"],
    "linear_probe": ["{}"],
    "fixmatch": ["{threshold: 0.3, strong: {crop: 4, flip: random, cutout: 8}}"],
    "mean_teacher": ["{momentum: 0.9, views: {crop: 2, flip: random}, ramp_up_epochs: 1}"],
    "loader_costs": ["{}"],
}
NEEDS = {
    "early_stopping": "data.validation=0.2",
    **dict.fromkeys(("self_training", "masked_image", "contrastive", "fixmatch", "mean_teacher"), "data.fraction=0.6"),
}
"""What a technique wants to be drawn with."""


@st.composite
def combinations(draw):
    lines = [draw(st.sampled_from(MODELS)), draw(st.sampled_from(OPTIMIZERS))]
    subjects = draw(st.lists(st.sampled_from(list(OTHERS)), unique=True, max_size=5))
    lines += [draw(st.sampled_from(OTHERS[subject])) for subject in subjects]
    names = draw(st.lists(st.sampled_from(list(TECHNIQUES)), unique=True, max_size=3))
    lines += [f"techniques.{name}={draw(st.sampled_from(TECHNIQUES[name]))}" for name in names]
    return [*lines, *(NEEDS[name] for name in names if name in NEEDS)]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipes") / "base.yaml"
    path.write_text(BASE)
    return str(path)


def test_all_techniques_are_drawn():
    assert TECHNIQUES.keys() == Techniques.model_fields.keys()


@FUZZ
@given(lines=combinations())
def test_options_are_refused_or_train(base, coloured, lines):
    refused = None
    try:
        chosen = recipe.load(base, lines)
        used, fresh = (set_up(chosen, split.select(coloured, chosen.data), World()) for _ in range(2))
    except ValueError as error:
        refused = str(error)
    event("accepted" if refused is None else "refused")
    if refused is not None:
        assert "\n" not in refused
        return
    warm_up(used)
    run_trial(used, seed=0)
    again, first = (outcome(run_trial(setup, seed=1), setup) for setup in (used, fresh))
    event(first[0][0])
    equal = same(again, first)
    assert equal or "diverged" in (again[0][0], first[0][0])


def trained(world, base, lines, dataset):
    """Losses and accuracies of a trial, or the line that refuses it."""
    try:
        chosen = recipe.load(base, lines)
        setup = set_up(chosen, split.select(dataset, chosen.data), world)
    except ValueError as error:
        return str(error)
    warm_up(setup)
    return [(result.train_loss, result.accuracy) for result in run_trial(setup, seed=3).epochs]


@settings(FUZZ, max_examples=300)
@given(lines=combinations(), strategy=st.sampled_from([*STRATEGIES]))
def test_processes_report_the_same(base, coloured, lines, strategy):
    with TemporaryDirectory() as folder:
        first, second = in_processes(folder, trained, base, [*lines, *STRATEGIES[strategy]], coloured, seconds=120)
    event("refused" if isinstance(first, str) else "trained")
    assert repr(first) == repr(second)  # NaN is no other than NaN
