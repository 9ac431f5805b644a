from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pipelines.distributed.process_group import World
from pipelines.losses import make_loss
from pipelines.recipe import RecipeError, load, techniques
from pipelines.techniques.cutmix import CutMix
from pipelines.techniques.mixup import MixUp, generator_of, mixup, soft_labels
from pipelines.train import run_trial, set_up


class Batches:
    """Keeps the batches as the network gets them."""

    def trial_start(self, state):
        self.seen = []

    def gradients_ready(self, state):
        self.seen.append((state.epoch, state.images.clone(), state.labels))  # an epoch overwrites the one before


def trial_of(dataset, *overrides, seed=0):
    observer = Batches()
    chosen = load("digits/quick", ["epochs=3", "batch_size=256", *overrides])
    trial = run_trial(set_up(chosen, dataset, World()), seed, observers=[observer])
    return trial, observer.seen


def random_batch(layout=torch.channels_last, dtype=torch.float32):
    torch.manual_seed(0)
    images = torch.randn(6, 3, 8, 8).to(dtype).contiguous(memory_format=layout)
    return images, torch.randint(4, (6,))


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_against_a_plain_loop(layout, dtype):
    images, labels = random_batch(layout, dtype)
    before = images.clone()
    mixed, mixed_labels = mixup(images, soft_labels(labels, 4), 0.25)
    for i in range(6):
        torch.testing.assert_close(mixed[i], 0.75 * images[i] + 0.25 * images[i - 1], rtol=0.02, atol=0.02)
        expected = torch.zeros(4)
        expected[labels[i]] += 0.75
        expected[labels[i - 1]] += 0.25
        torch.testing.assert_close(mixed_labels[i], expected)
    assert mixed.dtype == dtype
    assert mixed.is_contiguous(memory_format=layout)
    assert torch.equal(images, before)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_loss_of_mixed_labels_is_the_mean_of_the_losses(reduction):
    """So that the training loss means what it did: also with label smoothing, and with nothing mixed."""
    loss = make_loss(load("digits/quick", [f"loss={{reduction: {reduction}, label_smoothing: 0.2}}"]).loss)
    logits, labels = torch.randn(6, 4), torch.randint(4, (6,))
    torch.testing.assert_close(loss(logits, soft_labels(labels, 4)), loss(logits, labels))
    _, mixed = mixup(torch.zeros(6, 1, 1, 1), soft_labels(labels, 4), 0.3)
    torch.testing.assert_close(loss(logits, mixed), 0.7 * loss(logits, labels) + 0.3 * loss(logits, labels.roll(1)))


def test_every_batch_is_mixed_by_a_share_of_its_own(digits):
    _, plain = trial_of(digits)
    _, mixed = trial_of(digits, "techniques.mixup={alpha: 0.5}")
    shares = []
    for (_, images, labels), (_, mixed_images, mixed_labels) in zip(plain, mixed, strict=True):
        differ = (labels != labels.roll(1)).nonzero()[0]
        share = 1 - mixed_labels[differ, labels[differ]].item()
        expected = mixup(images, F.one_hot(labels, 10).float(), share)
        torch.testing.assert_close((mixed_images, mixed_labels), expected, rtol=1e-4, atol=1e-4)
        shares.append(share)
    drawn = np.random.default_rng([0, 0, *b"mixup"]).beta(0.5, 0.5, len(shares))
    assert shares == pytest.approx(drawn, abs=1e-5)


@pytest.fixture(scope="module")
def plain(digits):
    """What a trial without either was trained on."""
    return trial_of(digits)[1]


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
@pytest.mark.parametrize(
    ("window", "epochs"), [("from_epoch: 1", {1, 2}), ("until: 2", {0, 1}), ("{from_epoch: 1, until: 2}", {1})]
)
def test_it_acts_within_its_epochs_alone(digits, plain, name, window, epochs):
    """Outside of them the batches are the very ones of a training without it."""
    _, mixed = trial_of(digits, f"techniques.{name}={{{window.strip('{}')}}}")
    for (epoch, images, labels), (_, mixed_images, mixed_labels) in zip(plain, mixed, strict=True):
        assert (mixed_labels.ndim == 2) == (epoch in epochs)
        if epoch not in epochs:
            assert torch.equal(images, mixed_images)
            assert torch.equal(labels, mixed_labels)


def test_a_window_that_ends_before_it_begins_is_refused():
    with pytest.raises(RecipeError, match="until=2 must be more than from_epoch=3"):
        load("digits/quick", ["techniques.mixup={from_epoch: 3, until: 2}"])


def test_processes_trials_and_techniques_draw_each_their_own():
    draws = [generator_of(seed, rank, name).random() for seed in (0, 1) for rank in (0, 1) for name in ("a", "b")]
    assert len(set(draws)) == 8
    assert draws[0] == generator_of(0, 0, "a").random()


@pytest.mark.parametrize(("technique", "config"), [(MixUp, techniques.MixUp()), (CutMix, techniques.CutMix())])
def test_the_share_of_a_batch_is_the_same_on_all_processes(technique, config):
    """Zeros and ones alternate, so that the labels show what of the other image is there."""
    shares = []
    for rank in range(2):
        state = SimpleNamespace(seed=3, step=0, steps_per_epoch=9, world=World(rank, 2), network=nn.Sequential())
        state.network.head = nn.Linear(1, 2)
        mixing = technique(config)
        mixing.trial_start(state)
        shares.append([])
        for _ in range(5):
            state.images, state.labels = torch.zeros(2048, 1, 16, 16), torch.arange(2048) % 2
            mixing.batch_ready(state)
            shares[rank].append(state.labels[::2, 1].amax().item())
    assert len(set(shares[0])) > 1
    assert shares[0] == pytest.approx(shares[1], abs=1e-6)


def test_mixup_and_cutmix_go_together(digits):
    _, seen = trial_of(digits, "techniques={mixup: {}, cutmix: {}}")
    assert all(labels.sum(1).allclose(torch.ones(len(labels))) for _, _, labels in seen)
