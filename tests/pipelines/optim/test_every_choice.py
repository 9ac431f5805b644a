"""Every schedule and every optimizer is one line of YAML that trains, and that changes nothing else."""

import pytest
import torch
from torch import nn

from pipelines import recipe
from pipelines.data import sources
from pipelines.distributed.process_group import World
from pipelines.estimate import estimate
from pipelines.optim.optimizers import OPTIMIZERS, make_optimizer
from pipelines.optim.scheduled_optimizer import MasterWeightOptimizer, ScheduledOptimizer
from pipelines.optim.schedules import SCHEDULES, make_schedule
from pipelines.train import run_trial, set_up

SCHEDULE_LINES = {
    "constant": "{name: constant, warm_up: 1, warm_up_start: 0.1}",
    "piecewise_linear": "{name: piecewise_linear, epochs: [0, 1, 2], values: [0.1, 1, 0.1], period: 2}",
    "step": "{name: step, every: 1, gamma: 0.5}",
    "multi_step": "{name: multi_step, milestones: [2, 2.5], gamma: 0.2, warm_up: 0.5}",
    "exponential": "{name: exponential, gamma: 0.7}",
    "inverse_time": "{name: inverse_time, k: 0.5}",
    "inverse_sqrt": "{name: inverse_sqrt, warm_up: 1}",
    "cosine": "{name: cosine, floor: 0.05, warm_up: 0.5}",
    "polynomial": "{name: polynomial, power: 2}",
    "one_cycle": "{name: one_cycle}",
}
NEUTRAL_SCHEDULES = {
    "constant": "{name: constant, warm_up: 5, warm_up_start: 1}",
    "piecewise_linear": "{name: piecewise_linear, epochs: [0, 1], values: [1, 1], period: 1}",
    "step": "{name: step, every: 3}",
    "multi_step": "{name: multi_step, milestones: [3]}",
    "exponential": "{name: exponential, gamma: 1}",
    "inverse_time": "{name: inverse_time, k: 1e-99}",
    "inverse_sqrt": "{name: inverse_sqrt, k: 2}",
    "cosine": "{name: cosine, floor: 1}",
    "polynomial": "{name: polynomial, floor: 1}",
    "one_cycle": "{name: one_cycle, start: 1, end: 1}",
}
OPTIMIZER_LINES = {
    "sgd": "{name: sgd, lr: 0.1}",
    "adam": "{name: adam, lr: 5e-3, weight_decay: 1e-4}",
    "adamw": "{name: adamw, lr: 5e-3}",
    "muon": "{name: muon, lr: 0.1, bias_lr: 0.05, head_lr: 0.1}",
    "rmsprop": "{name: rmsprop, lr: 5e-4, momentum: 0.5, centered: true}",
    "adadelta": "{name: adadelta, lr: 3}",
    "lars": "{name: lars, lr: 10, bias_lr_factor: 0.01}",
    "lamb": "{name: lamb, lr: 0.03}",
}
STATES = {"sgd": 1, "adam": 2, "adamw": 2, "muon": 1, "rmsprop": 3, "adadelta": 2, "lars": 1, "lamb": 2}
optimizers = pytest.mark.parametrize("name", OPTIMIZER_LINES)


def quick(*overrides):
    return recipe.load("digits/quick", ["epochs=3", "evaluation.every=9", *overrides])


class Watch:
    """The network at the start, every batch, and the rates of every step over those where the schedule is 1."""

    def trial_start(self, state):
        self.start = [parameter.detach().clone() for parameter in state.network.parameters()]
        self.groups = [group for inner in state.optimizer.optimizers for group in inner.param_groups]
        self.batches, self.factors = [], []

    def batch_ready(self, state):
        self.batches.append((state.images.clone(), state.labels.clone()))

    def step_end(self, state):
        self.factors.append([group["lr"] / group["base_lr"] for group in self.groups])


def trial_of(chosen, digits):
    watch = Watch()
    return run_trial(set_up(chosen, digits, World()), seed=0, observers=[watch]), watch


def test_every_choice_is_here():
    assert SCHEDULE_LINES.keys() == NEUTRAL_SCHEDULES.keys() == SCHEDULES.keys()
    assert OPTIMIZER_LINES.keys() == STATES.keys() == OPTIMIZERS.keys()


@pytest.fixture(scope="module")
def usual(digits):
    return trial_of(quick("schedule={name: constant}"), digits)


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_trains_with_its_rates_and_changes_nothing_else(name, digits, usual):
    chosen = quick(f"schedule={SCHEDULE_LINES[name]}")
    trial, watch = trial_of(chosen, digits)
    assert trial.epochs[-1].train_loss < 0.7 < trial.epochs[0].train_loss
    factor = make_schedule(chosen)
    assert watch.factors == [pytest.approx([factor(step / 22)] * len(watch.groups)) for step in range(66)]
    assert same(watch.start, usual[1].start)
    assert all(map(same, watch.batches, usual[1].batches))
    assert trial.epochs != usual[0].epochs


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_that_stays_at_one_trains_as_none_does(name, digits, usual):
    trial, _ = trial_of(quick(f"schedule={NEUTRAL_SCHEDULES[name]}"), digits)
    assert trial.epochs == usual[0].epochs


@optimizers
def test_an_optimizer_trains_and_changes_nothing_else(name, digits, usual):
    trial, watch = trial_of(quick("schedule={name: constant}", f"optimizer={OPTIMIZER_LINES[name]}"), digits)
    assert trial.epochs[-1].train_loss < 0.4 * trial.epochs[0].train_loss
    assert trial.accuracy > 0.8
    assert same(watch.start, usual[1].start)
    assert all(map(same, watch.batches, usual[1].batches))
    assert watch.factors == [[1.0] * len(watch.groups)] * 66


def same(one, other):
    return all(map(torch.equal, one, other))


@optimizers
def test_an_optimizer_trains_bfloat16_weights_through_masters(name):
    """A few steps take the masters where float32 weights go under the same gradients."""
    chosen = quick("schedule={name: constant}", f"optimizer={OPTIMIZER_LINES[name]}")
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(16, 8), nn.Linear(8, 4)).bfloat16()
    plain = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(16, 8), nn.Linear(8, 4))
    plain.load_state_dict(network.state_dict())
    made = [make_optimizer(n, chosen, local_batch_size=9, steps=5, steps_per_epoch=5) for n in (network, plain)]
    assert [type(optimizer) for optimizer in made] == [MasterWeightOptimizer, ScheduledOptimizer]
    before = [master.detach().clone() for master in made[0].masters]
    for step in range(5):
        for half, full in zip(network.parameters(), plain.parameters(), strict=True):
            half.grad = torch.randn_like(half)
            full.grad = half.grad.float()
        for optimizer in made:
            optimizer.step(step)
    for master, half, full in zip(made[0].masters, network.parameters(), plain.parameters(), strict=True):
        assert torch.equal(master, full)
        assert torch.equal(half, master.bfloat16())
    assert not any(map(torch.equal, before, made[0].masters))


@optimizers
def test_float16_weights_have_masters_where_squares_of_gradients_would_underflow(name):
    chosen = quick(f"optimizer={OPTIMIZER_LINES[name]}")
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Linear(3, 4)).half()
    optimizer = make_optimizer(network, chosen, local_batch_size=9, steps=1, steps_per_epoch=1)
    assert (type(optimizer) is MasterWeightOptimizer) == chosen.optimizer.scale_free


@optimizers
def test_a_summed_loss_is_refused_where_it_would_do_nothing(name):
    """Whether the sum takes the same path as the mean is tested where it is allowed, in test_optimizers."""
    overrides = [f"optimizer={OPTIMIZER_LINES[name]}", "loss.reduction=sum"]
    if name in {"sgd", "muon"}:
        assert quick(*overrides).optimizer.name == name
        return
    with pytest.raises(recipe.RecipeError, match=f"does nothing under optimizer.name={name}.*set loss.reduction=mean"):
        quick(*overrides)


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw", "rmsprop", "adadelta"])
def test_biases_have_rates_and_decays_of_their_own(name):
    line = f"{{name: {name}, lr: 0.1, weight_decay: 0.01, bias_lr_factor: 3, bias_weight_decay_factor: 0.5}}"
    network = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    optimizer = make_optimizer(network, quick(f"optimizer={line}"), local_batch_size=9, steps=1, steps_per_epoch=1)
    ((weights, biases),) = [inner.param_groups for inner in optimizer.optimizers]
    assert (weights["role"], weights["lr"], weights["weight_decay"]) == ("weight", 0.1, 0.01)
    assert (biases["role"], biases["lr"], biases["weight_decay"]) == pytest.approx(("bias", 0.3, 0.005))


@pytest.mark.parametrize(
    ("line", "kind", "options"),
    [
        ("{name: adam, betas: [0.8, 0.9], eps: 1e-5}", torch.optim.Adam, {"lr": 1e-3, "betas": (0.8, 0.9)}),
        ("{name: adam, weight_decay: 0.1}", torch.optim.Adam, {"eps": 1e-8, "weight_decay": 0.1}),
        ("{name: rmsprop}", torch.optim.RMSprop, {"lr": 1e-2, "alpha": 0.99, "momentum": 0, "centered": False}),
        ("{name: rmsprop, alpha: 0.9, centered: true}", torch.optim.RMSprop, {"alpha": 0.9, "centered": True}),
        ("{name: rmsprop, momentum: 0.3, eps: 0.1}", torch.optim.RMSprop, {"momentum": 0.3, "eps": 0.1}),
        ("{name: adadelta}", torch.optim.Adadelta, {"lr": 1.0, "rho": 0.9, "eps": 1e-6, "weight_decay": 0}),
        ("{name: adadelta, rho: 0.5, eps: 1e-3}", torch.optim.Adadelta, {"rho": 0.5, "eps": 1e-3}),
    ],
)
def test_torch_s_optimizers_have_the_recipe_s_options(line, kind, options):
    optimizer = make_optimizer(
        nn.Linear(2, 2), quick(f"optimizer={line}"), local_batch_size=9, steps=1, steps_per_epoch=1
    )
    (optimizer,) = optimizer.optimizers
    assert type(optimizer) is kind
    for group in optimizer.param_groups:
        assert {key: group[key] for key in options} == options


@optimizers
def test_the_estimate_counts_the_optimizer_s_tensors(name):
    chosen = quick(f"optimizer={OPTIMIZER_LINES[name]}")
    costs = estimate(chosen, sources.blank("digits"), torch.device("cpu"))
    assert costs.weight_bytes == costs.parameters * 4 * (2 + STATES[name])
