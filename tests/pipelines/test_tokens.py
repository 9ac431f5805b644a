"""Trainings on tokens, in one process and in two."""

import copy
import dataclasses
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pipelines import recipe
from pipelines.data import sources
from pipelines.data.loader import LoaderContext
from pipelines.data.loaders import make_loader
from pipelines.distributed.process_group import World
from pipelines.losses import make_loss
from pipelines.probes import roofline
from pipelines.recipe import RecipeError
from pipelines.recipe.training import Loss
from pipelines.train import run_trial, set_up
from pipelines.warmup import warm_up
from tests.pipelines.processes import in_processes
from tests.pipelines.strategies.test_strategies_train import RELATIVE, flat, train

NAME = "throughput/gpt2-124m"
TINY = [
    "data.tokens={sequences: 22, length: 16, vocabulary: 50}",
    "model={name: gpt2, layers: 2, width: 32, heads: 4, vocabulary: 64, context: 32}",
    "batch_size=4",
    "epochs=2",
    "precision=float32",
    "compile=false",
    "optimizer.lr=0.003",
]


def tiny(*overrides):
    return recipe.load(NAME, [*TINY, *overrides])


def data_of(chosen):
    return sources.load_of(chosen.data, None)


def trial_of(chosen, dataset=None):
    return run_trial(set_up(chosen, dataset or data_of(chosen), World()), 1)


def test_targets_are_the_next_tokens():
    data = data_of(tiny())
    assert (data.train_images.shape, data.train_images.dtype) == ((22, 16), np.int64)
    assert np.array_equal(data.train_images[:, 1:], data.train_labels[:, :-1])
    assert set(np.unique(data.train_images)) == set(range(50))
    assert np.array_equal(data.train_images, data_of(tiny()).train_images)
    assert sources.blank_of(tiny().data).train_labels.shape == (22, 16)


def test_an_epoch_has_each_sequence_once_with_its_targets():
    chosen, data = tiny("drop_last=false"), data_of(tiny())
    loader = make_loader(LoaderContext(chosen, data, World(), torch.float32, 0, 0))
    loader.transfer()
    loader.preprocess()
    first, second = ([torch.cat(part) for part in zip(*loader.epoch(epoch), strict=True)] for epoch in (0, 1))
    assert not torch.equal(first[0], second[0])
    expected = sorted(np.concatenate([data.train_images, data.train_labels], 1).tolist())
    for tokens, targets in (first, second):
        assert sorted(torch.cat([tokens, targets], 1).tolist()) == expected


def test_the_loss_is_the_mean_over_all_positions():
    logits, targets = torch.randn(3, 5, 7), torch.randint(7, (3, 5))
    log_probability = logits.log_softmax(2).gather(2, targets[..., None])
    assert make_loss(Loss())(logits, targets).item() == pytest.approx(-log_probability.mean().item())


class Batches:
    """Keeps the network of the first step and the batches."""

    def trial_start(self, state):
        self.network, self.seen = copy.deepcopy(state.network), []

    def batch_ready(self, state):
        self.seen.append((state.images.clone(), state.labels.clone()))


def test_a_trial_is_a_plain_training_loop():
    chosen, kept = tiny(), Batches()
    setup = set_up(chosen, data_of(chosen), World())
    run_trial(setup, 1, [kept])
    optimizer = torch.optim.AdamW(kept.network.parameters(), lr=0.003, betas=(0.9, 0.95), weight_decay=1e-2)
    assert len(kept.seen) == 10
    for tokens, targets in kept.seen:
        logits = kept.network(tokens)
        optimizer.zero_grad()
        F.cross_entropy(logits.view(-1, 64), targets.view(-1)).backward()
        optimizer.step()
    expected = flat(dict(kept.network.named_parameters()))
    torch.testing.assert_close(flat(dict(setup.network.named_parameters())), expected)


def test_a_network_learns_the_next_token():
    """Of sequences that count upwards."""
    chosen = tiny("epochs=8")
    data = data_of(chosen)
    counting = (np.arange(17) + np.arange(22)[:, None]) % 50
    data = dataclasses.replace(data, train_images=counting[:, :-1], train_labels=counting[:, 1:])
    losses = [epoch.train_loss for epoch in trial_of(chosen, data).epochs]
    assert losses[0] < math.log(64) + 0.1
    assert losses[-1] < 0.6 * losses[0]


def test_a_trial_has_neither_accuracy_nor_evaluation():
    trial = trial_of(tiny())
    assert (trial.outcome, trial.accuracy, trial.steps, trial.samples) == ("finished", None, 10, 40)
    assert not [lap for lap in trial.laps if "evaluate" in lap.name]


@pytest.mark.parametrize(
    "technique",
    ["ema: {}", "lookahead: {}", "penalty: {l2: 0.1}", "gradient_clipping: {norm: 1}", "reduce_on_plateau: {}",
     "growing_batch: {epochs: [0], batches: [2]}"],
)  # fmt: skip
def test_techniques_that_take_tokens(technique):
    assert trial_of(tiny(f"techniques={{{technique}}}")).outcome == "finished"


def test_the_warm_up_has_tokens_of_its_own():
    chosen = tiny("drop_last=false")
    warm_up(set_up(chosen, data_of(chosen), World()))


def test_the_roofline_knows_attention():
    found = roofline.examine(tiny(), data_of(tiny()), World())
    assert found.parts["attention"].flops > 0


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["augment.crop=4"], "augment.crop=4 is for images, and data.name=made-up-tokens has tokens: leave it out"),
        (["augment={flip: random}"], "augment.flip=random is for images"),
        (["evaluation.tta=flip"], "evaluation.tta=flip is for images"),
        (["loader={name: bulk}"], "loader.name=bulk is for images"),
        (["data.fraction=0.5"], "data.fraction=0.5 is for images"),
        (["data.limit=4"], "data.limit=4 is for images"),
        (["initialization.head=normal"], "initialization.head=normal is for images"),
        (["loss.reduction=sum"], "loss.reduction=sum is for images"),
        (["techniques={mixup: {}}"], "techniques.mixup is for images"),
        (["techniques={whitening_bias: {}}"], "techniques.whitening_bias is for images"),
        (["precision=half"], "precision=half cannot be combined with model.name=gpt2: set precision=autocast"),
        (["optimizer={name: muon, lr: 0.1, bias_lr: 0.1, head_lr: 0.1}"], "optimizer.name=muon is for convolutions"),
        (["parallel.strategy=pipeline"], "parallel.strategy=pipeline cannot be combined with model.name=gpt2"),
        (["evaluation.every=1"], "data.name=made-up-tokens has no test images"),
        (["target=0.5"], "target=0.5 needs an evaluation"),
        (
            ["model=null", "model={name: convnet}"],
            "model.name=convnet takes images, and data.name=made-up-tokens has tokens",
        ),
        (["model.heads=5"], "heads=5 does not divide width=32"),
        (["data={tokens: null}"], "data.name=made-up-tokens: set how many"),
    ],
)
def test_what_is_for_images_is_refused(overrides, message):
    with pytest.raises(RecipeError) as error:
        tiny(*overrides)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model={name: gpt2}", "model.name=gpt2 takes tokens, and data.name=digits has images: set data="),
        ("data.tokens={sequences: 4, length: 8}", "data.tokens is for made-up-tokens"),
    ],
)
def test_images_have_no_tokens(override, message):
    with pytest.raises(RecipeError, match=message):
        recipe.load("digits/quick", [override])


def test_a_smoke_test_has_the_network_of_the_recipe():
    whole = recipe.load(NAME)
    short = recipe.smoke_test(whole)
    assert short.model == whole.model
    assert short.data.tokens.sequences * short.data.tokens.length <= 128
    assert short.steps(short.data.tokens.sequences) == 4


ONE_LOCAL_STEP = [
    "parallel={strategy: local_sgd, local_sgd_period: 1}",
    "optimizer={name: sgd, lr: 0.1, momentum: 0, nesterov: false}",
]
"""Then the mean of the weights is that of the gradients"""


@pytest.mark.parametrize(
    "overrides",
    [["drop_last=false"], ["accumulation=2"], ["parallel.strategy=fsdp2"], ONE_LOCAL_STEP],
    ids=lambda overrides: overrides[0],
)
def test_two_processes_train_the_weights_of_one(tmp_path, overrides):
    chosen = tiny(*overrides)
    job = [(chosen, data_of(chosen), 2)]
    ((_, alone, _, losses),) = train(World(), job)
    for ((_, shared, _, shared_losses),) in in_processes(tmp_path, train, job):
        assert shared_losses == pytest.approx(losses, rel=1e-5)
        assert (flat(shared) - flat(alone)).norm() / flat(alone).norm() < RELATIVE
