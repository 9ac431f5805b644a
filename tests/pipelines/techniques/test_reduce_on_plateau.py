from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim.lr_scheduler import ReduceLROnPlateau

from pipelines import recipe
from pipelines.distributed.process_group import World
from pipelines.recipe import techniques
from pipelines.techniques.reduce_on_plateau import ReduceOnPlateau, factor_after
from pipelines.train import run_trial, set_up

LOSSES = st.lists(st.integers(1, 12).map(lambda tenths: tenths / 10), min_size=1, max_size=60)


@given(
    LOSSES,
    st.sampled_from([0.1, 0.5, 0.9]),
    st.integers(0, 4),
    st.sampled_from([0.0, 1e-4, 0.15]),
    st.sampled_from([0.0, 0.02, 1.0]),
)
def test_the_factor_is_that_of_torch_s_reduce_on_plateau(losses, factor, patience, threshold, lowest):
    config = techniques.ReduceOnPlateau(factor=factor, patience=patience, threshold=threshold, min_factor=lowest)
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    options = {"factor": factor, "patience": patience, "threshold": threshold, "min_lr": lowest, "eps": 0}
    plateau = ReduceLROnPlateau(optimizer, **options)
    for epoch, loss in enumerate(losses):
        plateau.step(loss)
        assert factor_after(losses[: epoch + 1], config) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)


def test_defaults_are_torch_s():
    plateau = ReduceLROnPlateau(torch.optim.SGD([torch.zeros(1)], lr=1.0))
    config = techniques.ReduceOnPlateau()
    assert (config.factor, config.patience, config.threshold) == (0.1, plateau.patience, plateau.threshold)
    assert (plateau.factor, plateau.min_lrs, plateau.cooldown) == (0.1, [config.min_factor], 0)


def test_rates_are_scaled_as_reductions_come():
    scaled = []
    optimizer = SimpleNamespace(scale_rates=scaled.append)
    technique = ReduceOnPlateau(techniques.ReduceOnPlateau(factor=0.5, patience=0, min_factor=0.2))
    state = SimpleNamespace(optimizer=optimizer, history=[])
    for loss in (3, 2, 2, 1, 1, 1, 1):
        state.history.append(SimpleNamespace(train_loss=loss))
        technique.epoch_end(state)
    assert scaled == [1, 1, 0.5, 1, 0.5, 0.2 / 0.25, 1]


class Rates:
    """The factor on every group's rate, step by step, and the sums of the batches."""

    def __init__(self):
        self.factors, self.batches = [], []

    def trial_start(self, state):
        groups = [group for inner in state.optimizer.optimizers for group in inner.param_groups]
        self.groups = [(group, group["base_lr"]) for group in groups]

    def batch_ready(self, state):
        self.batches.append(state.images.sum().item())

    def step_end(self, state):
        self.factors.append([group["lr"] / base for group, base in self.groups])


def trained(digits, *overrides):
    chosen = recipe.load("digits/quick", ["epochs=4", "batch_size=256", *overrides])
    rates = Rates()
    return run_trial(set_up(chosen, digits, World()), seed=0, observers=[rates]), rates


SGD = ["optimizer={name: sgd, lr: 0.05, bias_lr_factor: 2}"]
MUON = ["optimizer={name: muon, lr: 0.05, bias_lr: 0.05, head_lr: 0.05}"]


@pytest.mark.parametrize("optimizer", [SGD, MUON], ids=["sgd", "muon"])
def test_a_plateau_lowers_every_rate_on_top_of_the_schedule(digits, optimizer):
    """A threshold that no epoch passes after the first makes every later epoch a plateau."""
    falling = "schedule={name: step, every: 2, gamma: 0.5}"
    once = "techniques.reduce_on_plateau={factor: 0.1, patience: 0, threshold: 0.999, min_factor: 0.01}"
    _, rates = trained(digits, *optimizer, falling, once)
    factors = [1] * 5 + [1] * 5 + [0.5 * 0.1] * 5 + [0.5 * 0.01] * 5
    assert len(rates.groups) > 1
    for group in zip(*rates.factors, strict=True):
        assert group == pytest.approx(factors)


def test_without_a_plateau_nothing_changes(digits):
    (plain, plain_rates), (patient, rates) = (
        trained(digits, *SGD, *more) for more in ([], ["techniques.reduce_on_plateau={patience: 4}"])
    )
    assert plain.epochs == patient.epochs
    assert plain_rates.factors == rates.factors


def test_a_plateau_changes_rates_and_not_batches(digits):
    reduced = "techniques.reduce_on_plateau={patience: 0, threshold: 0.999}"
    (plain, plain_rates), (lower, rates) = (trained(digits, *SGD, *more) for more in ([], [reduced]))
    assert plain_rates.batches == rates.batches
    assert plain.epochs[:2] == lower.epochs[:2]
    assert plain.epochs[2] != lower.epochs[2]
