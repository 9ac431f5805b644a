"""Masked images, momentum contrast, another task, a teacher, a frozen backbone."""

import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pipelines import models, recipe
from pipelines.data.split import labelled_fraction
from pipelines.distributed.process_group import World
from pipelines.recipe.techniques.pretraining import Pretraining
from pipelines.techniques.contrastive import info_nce
from pipelines.techniques.distillation import feature_distance, soft_cross_entropy
from pipelines.techniques.masked_image import draw_masks, reconstruction_loss
from pipelines.techniques.pretrained import enlarge
from pipelines.techniques.pretraining import fit
from pipelines.train import run_trial, set_up
from tests.pipelines.techniques.repeated import check_compiled_in_the_warm_up


def generator():
    return torch.Generator().manual_seed(0)


def quick(*overrides):
    return recipe.load("digits/quick", ["epochs=2", "schedule={name: constant}", "optimizer.lr=0.05", *overrides])


def parameters(network):
    return {name: parameter.detach().clone() for name, parameter in network.named_parameters()}


class Watch:
    """Keeps the parameters at the start of the training, as they are first evaluated, and at the end."""

    evaluated = None

    def trial_start(self, state):
        self.objective, self.plain, self.pretrained = state.objective, state.loader.plain, parameters(state.network)

    def evaluation_start(self, state):
        self.evaluated = self.evaluated or parameters(state.network)

    def trial_end(self, state):
        self.final = parameters(state.network)


def watch(chosen, dataset):
    """What a trial does to the parameters, from the initial ones on."""
    seen, setup = Watch(), set_up(chosen, dataset, World())
    trial = run_trial(setup, seed=0, observers=[seen])
    models.initialize(setup.network, 0, chosen.initialization)
    seen.initial = parameters(setup.network)
    return seen, trial


def changed(before, after):
    return {name for name in before if not torch.equal(before[name], after[name])}


def test_masks_hide_whole_patches_and_the_share_asked_for():
    masks = draw_masks(50, (8, 12), 4, 0.5, generator())
    assert masks.shape == (50, 1, 8, 12)
    patches = F.avg_pool2d(masks.float(), 4)
    assert set(patches.unique().tolist()) == {0, 1}
    assert torch.equal(patches.sum((1, 2, 3)), torch.full((50,), 3.0))
    assert len(masks.flatten(1).unique(dim=0)) > 10


def test_masks_of_a_size_that_is_no_multiple_are_cut_off():
    assert draw_masks(2, (7, 9), 4, 1 / 6, generator()).shape == (2, 1, 7, 9)


def test_only_hidden_pixels_count_in_the_reconstruction():
    images, output = torch.zeros(1, 1, 2, 2), torch.tensor([[[[3.0, 1.0], [5.0, 1.0]]]])
    hidden = torch.tensor([[[[True, False], [True, False]]]])
    assert reconstruction_loss(output, images, hidden) == (9 + 25) / 2


def test_info_nce_is_the_cross_entropy_of_finding_the_own_key():
    queries, keys, queue = (F.normalize(torch.randn(n, 8, generator=generator())) for n in (3, 3, 5))
    expected = torch.stack(
        [
            -torch.log(
                torch.exp(queries[i] @ keys[i] / 0.2)
                / (torch.exp(queries[i] @ keys[i] / 0.2) + torch.exp(queue @ queries[i] / 0.2).sum())
            )
            for i in range(3)
        ]
    ).mean()
    torch.testing.assert_close(info_nce(queries, keys, queue, 0.2), expected)


def test_keys_and_queue_get_no_gradient():
    queries, keys, queue = (torch.randn(4, 3, requires_grad=True) for _ in range(3))
    info_nce(queries, keys, queue, 0.1).backward()
    assert queries.grad is not None
    assert keys.grad is None
    assert queue.grad is None


def test_equal_logits_leave_nothing_to_distil():
    logits = torch.randn(5, 4)
    assert soft_cross_entropy(logits, logits, 3.0).abs() < 1e-6
    assert feature_distance(logits, 7 * logits).abs() < 1e-6


def test_the_gradient_of_distillation_keeps_its_size_at_any_temperature():
    student, teacher = torch.zeros(1, 2, dtype=torch.float64), torch.tensor([[1e-3, 0.0]], dtype=torch.float64)
    gradients = []
    for temperature in (1.0, 10.0):
        logits = student.clone().requires_grad_()
        soft_cross_entropy(logits, teacher, temperature).backward()
        gradients.append(logits.grad)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-3, atol=0)


def test_the_teacher_gets_no_gradient():
    student, teacher = (torch.randn(4, 3, requires_grad=True) for _ in range(2))
    (soft_cross_entropy(student, teacher, 2.0) + feature_distance(student, teacher)).backward()
    assert student.grad is not None
    assert teacher.grad is None


@pytest.mark.parametrize(("epochs", "steps"), [(1e-9, 1), (0.5, 5), (1.0, 10), (1.1, 11), (2.0, 20)])
def test_fit_takes_so_many_steps_over_each_image_once_an_epoch(epochs, steps):
    seen, weight = [], nn.Parameter(torch.ones(1))

    def objective(chosen):
        seen.append(chosen)
        return weight.square().sum()

    fit([weight], objective, 100, Pretraining(epochs=epochs, batch_size=10), generator())
    assert len(seen) == steps
    for start in range(0, steps - steps % 10, 10):
        assert torch.equal(torch.cat(seen[start : start + 10]).sort().values, torch.arange(100))


def test_fit_minimises():
    weight = nn.Parameter(torch.ones(1))
    losses = fit(
        [weight], lambda chosen: weight.square().sum(), 10, Pretraining(epochs=50, batch_size=5, lr=0.1), generator()
    )
    assert len(losses) == 50
    assert losses[-1] < 0.01 < losses[0]


@pytest.mark.parametrize(
    "technique", ["pretrained={epochs: 2}", "pretrained={epochs: 2, views: {crop: 1}}|linear_probe={}"]
)
def test_a_pretraining_trains_the_backbone_and_not_the_head(technique, digits):
    chosen = quick(*(f"techniques.{one}" for one in technique.split("|")))
    seen, _ = watch(chosen, digits)
    backbone = {name for name in seen.initial if name.startswith("layers.")}
    assert changed(seen.initial, seen.pretrained) == backbone
    head = {"head.weight", "head.bias"}
    assert changed(seen.pretrained, seen.final) == (head if "probe" in technique else head | backbone)


def test_a_teacher_is_never_updated_by_the_training(digits):
    seen, trial = watch(quick("techniques.distillation={epochs: 3, feature_weight: 0.5}"), digits)
    assert changed(seen.initial, seen.pretrained) == set()
    assert trial.notes["distillation"]["teacher_train_accuracy"] > 0.5
    assert trial.epochs[-1].train_loss < trial.epochs[0].train_loss


def test_enlarged_images_keep_what_they_show():
    images = torch.zeros(1, 4, 4, 1)
    images[:, :2] = 1
    large = enlarge(images, (28, 28))
    assert large.shape == (1, 28, 28, 1)
    assert enlarge(images, (28, 28), pad=3).shape == (1, 34, 34, 1)
    assert large[0, :8].min() > 0.9
    assert large[0, -8:].max() < 0.1


def distance(ones, others):
    return sum((ones[name] - others[name]).square().sum() for name in ones).sqrt().item()


@pytest.mark.parametrize(
    "average",
    ["ema={momentum: 0.9999, every: 1}", "lookahead={every: 5, power: 0, decay: 0.9999}"],
)
def test_an_average_begins_with_the_pretrained_weights(digits, average):
    seen, _ = watch(quick("techniques.pretrained={epochs: 2}", f"techniques.{average}", "epochs=1"), digits)
    assert distance(seen.evaluated, seen.pretrained) < 0.05 * distance(seen.initial, seen.pretrained)


def test_a_mean_teacher_begins_with_the_pretrained_weights(digits):
    """Its first targets are not those of random weights."""

    class Begin:
        def epoch_start(self, state):
            self.teacher, self.student = parameters(state.objective.__self__._teacher), parameters(state.network)

    mean_teacher = "techniques.mean_teacher={views: {crop: 1}}"
    chosen = quick("techniques.masked_image={epochs: 1, patch: 2}", mean_teacher, "epochs=1")
    begin = Begin()
    run_trial(set_up(chosen, labelled_fraction(digits, 0.2, seed=0), World()), seed=0, observers=[begin])
    assert changed(begin.teacher, begin.student) == set()


def test_a_linear_probe_calls_the_network_as_the_strategy_does(digits):
    """So that it is compiled and under autocast like any other."""

    class Calls:
        def trial_start(self, state):
            self.forward = state.forward

    calls, setup = Calls(), set_up(quick("techniques.linear_probe={}"), digits, World())
    run_trial(setup, seed=0, observers=[calls])
    assert calls.forward.func is setup.strategy.forward


def test_learning_features_is_compiled(digits, monkeypatch):
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda forward, **options: compiled.append(forward) or forward)
    setup = set_up(quick("techniques.distillation={epochs: 1, feature_weight: 1}", "compile=true"), digits, World())
    run_trial(setup, seed=0)
    assert setup.network.features_and_logits in compiled


@pytest.mark.parametrize("technique", ["linear_probe={}", "distillation={epochs: 1, feature_weight: 1}"])
def test_it_is_compiled_in_the_warm_up(digits, without_inductor, technique):
    check_compiled_in_the_warm_up(set_up(quick(f"techniques.{technique}", "compile=true"), digits, World()))


AIRNET = "{name: airnet, widths: [4, 4, 4], whitening: {images: 40}}"
DISTILLED = [
    "model={widths: [4, 4, 6, 8], norm: {group_size: 8}, whitening: {images: 40}}",
    "batch_size=16",
    "epochs=1",
    "schedule={epochs: [0, 1, 2]}",
    "optimizer.lr=0.01",
    "loss.reduction=mean",
    "precision=float32",
]


def distilled(dataset, **options):
    """A DavidNet that learns from an AirNet, both with a whitening layer and a factor on the logits."""
    settings = ", ".join(f"{key}: {value}" for key, value in ({"teacher": AIRNET, "epochs": 1} | options).items())
    chosen = recipe.load("cifar10/davidnet-10", [*DISTILLED, f"techniques={{ema: null, distillation: {{{settings}}}}}"])
    return watch(chosen, dataset)


def test_the_whitening_of_a_teacher_is_fitted(coloured):
    seen, _ = distilled(coloured)
    (layer,) = models.whitening_layers(seen.objective.__self__._teacher)
    fitted = copy.deepcopy(layer)
    fitted.reset_parameters()
    assert not torch.allclose(layer.weight, fitted.weight)
    fitted.fit(seen.plain(40)[0])
    assert torch.equal(layer.weight, fitted.weight)


def test_features_of_no_weight_change_nothing(coloured):
    """The logits of both networks are those that they have without."""
    (_, plain), (_, features) = (distilled(coloured, feature_weight=weight) for weight in (0, 1e-9))
    assert features.epochs[0].train_loss == pytest.approx(plain.epochs[0].train_loss, rel=1e-4)


@pytest.mark.parametrize("technique", ["pretrained={epochs: 1}", "masked_image={epochs: 1}", "contrastive={views: {}}"])
def test_a_network_with_whitening_is_pretrained_behind_it(coloured, technique):
    chosen = recipe.load(
        "cifar10/davidnet-10", [*DISTILLED, f"techniques={{ema: null, {technique.replace('=', ': ')}}}"]
    )
    some = replace(coloured, pool_images=coloured.train_images[:32], pool_labels=coloured.train_labels[:32])
    seen, _ = watch(chosen, some)
    trained = {name for name in seen.initial if not name.startswith(("head", "whiten"))}
    frozen = {name for name in trained if name.endswith("weight") and seen.initial[name].ndim == 1}  # norm.scale
    assert trained - frozen <= changed(seen.initial, seen.pretrained) <= trained | {"whiten.weight"}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["techniques.linear_probe={}", "optimizer={name: muon, lr: 0.1, bias_lr: 0.05, head_lr: 0.05}"],
            r"muon is for convolutions, and techniques\.linear_probe trains none: set optimizer=\{name: sgd",
        ),
        (["techniques.linear_probe={}", "model.norm={}"], "convnet has norms, whose statistics would change"),
        (
            ["techniques={linear_probe: {}, distillation: {feature_weight: 0.5}}"],
            r"linear_probe keeps the backbone as it is, and techniques\.distillation\.feature_weight=0\.5 trains",
        ),
        (
            ["techniques.distillation={teacher: {name: gpt2}}"],
            r"distillation\.teacher\.name=gpt2 takes tokens, and techniques\.distillation is for images",
        ),
        (["techniques.batch_selection={proxy: {name: gpt2}}"], r"batch_selection\.proxy\.name=gpt2 takes tokens"),
        (
            ["techniques.distillation={teacher: {name: torchvision, architecture: resnet18}, feature_weight: 1}"],
            "feature_weight needs the layers of our networks",
        ),
        (
            ["techniques.batch_selection={proxy: {name: torchvision, architecture: resnet18}}", "precision=half"],
            r"precision=half cannot be combined with techniques\.batch_selection\.proxy\.name=torchvision",
        ),
        (
            ["techniques.pretrained={views: {resolution: {epochs: [0], sizes: [6]}}}"],
            r"techniques\.pretrained\.views\.resolution does nothing",
        ),
        (
            ["techniques.contrastive={views: {flip: alternating}}"],
            r"contrastive\.views\.flip=alternating depends on the.*set techniques\.contrastive\.views\.flip=random",
        ),
        (
            ["techniques.contrastive={views: {}, queue: 100}"],
            r"techniques\.contrastive: queue=100 has no room for the 128 keys of a step: set queue=128 or more",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(overrides, message):
    with pytest.raises(recipe.RecipeError, match=message):
        quick(*overrides)


@pytest.mark.parametrize(("patch", "share", "hidden"), [(8, 0.5, 64), (4, 0.1, 16), (2, 0.01, 4)])
def test_a_patch_is_always_hidden(patch, share, hidden):
    """The reconstruction is the mean over what is hidden."""
    masks = draw_masks(5, (8, 8), patch, share, generator())
    assert torch.equal(masks.sum((1, 2, 3)), torch.full((5,), hidden))
