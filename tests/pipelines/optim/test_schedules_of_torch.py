"""Where torch has the same schedule, as an object that is stepped, its rates are the reference."""

from functools import partial

import pytest
import torch
from torch.optim import lr_scheduler

from pipelines import recipe
from pipelines.optim.schedules import make_schedule


def schedule(text, epochs=20.0):
    """The function of a schedule that is written as one line of YAML."""
    return make_schedule(recipe.load("digits/quick", [f"schedule={{{text}}}", f"epochs={epochs}"]))


def torch_s_factors(make, steps):
    """What one of torch's stepped schedules makes of a rate of 1, before each step."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    stepped = make(optimizer)
    factors = []
    for _ in range(steps):
        factors.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        stepped.step()
    return factors


@pytest.mark.parametrize(
    ("text", "make"),
    [
        ("name: step, every: 3, gamma: 0.5", partial(lr_scheduler.StepLR, step_size=3, gamma=0.5)),
        ("name: step, every: 1", partial(lr_scheduler.StepLR, step_size=1, gamma=0.1)),
        (
            "name: multi_step, milestones: [2, 3, 11], gamma: 0.3",
            partial(lr_scheduler.MultiStepLR, milestones=[2, 3, 11], gamma=0.3),
        ),
        ("name: exponential, gamma: 0.9", partial(lr_scheduler.ExponentialLR, gamma=0.9)),
        ("name: cosine", partial(lr_scheduler.CosineAnnealingLR, T_max=20)),
        ("name: cosine, floor: 0.1", partial(lr_scheduler.CosineAnnealingLR, T_max=20, eta_min=0.1)),
        (
            "name: cosine, period: 7, floor: 0.2",
            partial(lr_scheduler.CosineAnnealingWarmRestarts, T_0=7, eta_min=0.2),
        ),
        ("name: polynomial", partial(lr_scheduler.PolynomialLR, total_iters=20)),
        ("name: polynomial, power: 2.5", partial(lr_scheduler.PolynomialLR, total_iters=20, power=2.5)),
        (
            "name: constant, warm_up: 4, warm_up_start: 0.25",
            partial(lr_scheduler.LinearLR, start_factor=0.25, total_iters=4),
        ),
        (
            "name: cosine, warm_up: 5, warm_up_start: 0.1",
            lambda optimizer: lr_scheduler.SequentialLR(
                optimizer,
                [
                    lr_scheduler.LinearLR(optimizer, 0.1, total_iters=5),
                    lr_scheduler.CosineAnnealingLR(optimizer, T_max=15),
                ],
                milestones=[5],
            ),
        ),
        (
            "name: multi_step, milestones: [8, 12], warm_up: 5, warm_up_start: 0.5",
            lambda optimizer: lr_scheduler.ChainedScheduler(
                [
                    lr_scheduler.LinearLR(optimizer, 0.5, total_iters=5),
                    lr_scheduler.MultiStepLR(optimizer, [8, 12]),
                ]
            ),
        ),
    ],
)
def test_epochs_begin_with_torch_s_rates(text, make):
    expected = torch_s_factors(make, 20)
    assert [schedule(text)(epoch) for epoch in range(20)] == pytest.approx(expected, abs=1e-9)
    assert len(set(expected)) > 1


@pytest.mark.parametrize(("anneal", "torch_s"), [("cosine", "cos"), ("linear", "linear")])
@pytest.mark.parametrize("peak", [0.3, 0.5])
def test_one_cycle_is_torch_s(anneal, torch_s, peak):
    """torch's phases end a step early, so as to end with the last step: with one step more they end with ours."""
    steps, epochs = 200, 20
    make = partial(
        lr_scheduler.OneCycleLR,
        max_lr=1.0,
        total_steps=steps + 1,
        pct_start=(peak * steps + 1) / (steps + 1),
        anneal_strategy=torch_s,
        cycle_momentum=False,
        div_factor=10,
        final_div_factor=50,
    )
    found = schedule(f"name: one_cycle, start: 0.1, peak: {peak}, end: 0.002, anneal: {anneal}", epochs)
    expected = torch_s_factors(make, steps)
    assert [found(step * epochs / steps) for step in range(steps)] == pytest.approx(expected, abs=1e-9)
    assert max(expected) == pytest.approx(1)
    assert found(epochs) == pytest.approx(0.002)


def test_one_cycle_s_defaults_are_torch_s():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0, momentum=0.9)
    group = lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=10).optimizer.param_groups[0]
    found = schedule("name: one_cycle")
    assert found(0) == pytest.approx(group["initial_lr"])
    assert found(20) == pytest.approx(group["min_lr"])
    assert found(6) == 1
