"""Masked images, momentum contrast, another task, a teacher, a frozen backbone."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pipelines import recipe
from pipelines.distributed.process_group import World
from pipelines.recipe.techniques.pretraining import Pretraining
from pipelines.techniques.contrastive import info_nce
from pipelines.techniques.distillation import feature_distance, soft_cross_entropy
from pipelines.techniques.masked_image import draw_masks, reconstruction_loss
from pipelines.techniques.pretrained import enlarge
from pipelines.techniques.pretraining import fit
from pipelines.train import run_trial, set_up


def generator():
    return torch.Generator().manual_seed(0)


def quick(*overrides):
    return recipe.load("digits/quick", ["epochs=2", "schedule={name: constant}", "optimizer.lr=0.05", *overrides])


class Watch:
    """Keeps the parameters at the start of the training and at its end."""

    def trial_start(self, state):
        self.network = state.network
        self.initial = self.now()

    def epoch_start(self, state):
        if state.epoch == 0:
            self.pretrained = self.now()

    def trial_end(self, state):
        self.final = self.now()

    def now(self):
        return {name: parameter.detach().clone() for name, parameter in self.network.named_parameters()}


def watch(chosen, dataset):
    seen = Watch()
    trial = run_trial(set_up(chosen, dataset, World()), seed=0, observers=[seen])
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


@pytest.mark.parametrize(("epochs", "steps"), [(1e-9, 1), (0.5, 5), (1.0, 10), (2.0, 20)])
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
