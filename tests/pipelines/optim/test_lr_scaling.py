import math

import pytest
import torch

from pipelines import models, recipe
from pipelines.optim.lr_scaling import scaled, scaling_factor
from pipelines.optim.optimizers import make_optimizer
from pipelines.recipe.parallel import Scaling

IMAGES = 1437


def factor(batch_size, **config):
    return scaling_factor(Scaling(reference_batch=256, **config), batch_size)


@pytest.mark.parametrize(("rule", "full"), [("linear", 32), ("sqrt", math.sqrt(32)), ("none", 1)])
@pytest.mark.parametrize("warmup", ["gradual", "constant", "none"])
def test_the_rules_of_the_paper(rule, full, warmup):
    """Goyal et al.: 8k images at 32 times the rate of 256, reached after 5 epochs."""
    at = factor(8192, lr=rule, warmup=warmup)
    assert at(5) == at(90) == pytest.approx(full)
    assert at(0) == pytest.approx(full if warmup == "none" else 1)
    between = {"gradual": 1 + (full - 1) / 2, "constant": 1, "none": full}
    assert at(2.5) == pytest.approx(between[warmup])
    assert at(5 - 1e-9) == pytest.approx(1 if warmup == "constant" else full)


@pytest.mark.parametrize("warmup", ["gradual", "constant", "none"])
def test_the_reference_batch_is_left_as_it_is(warmup):
    assert {factor(256, warmup=warmup)(epoch / 10) for epoch in range(100)} == {1}


@pytest.mark.parametrize("warmup", ["gradual", "constant", "none"])
def test_a_smaller_batch_has_its_smaller_rate_from_the_first_step(warmup):
    assert {factor(64, warmup=warmup)(epoch / 10) for epoch in range(100)} == {0.25}


def test_no_warm_up_is_a_warm_up_of_no_epochs():
    assert factor(512, warmup_epochs=0)(0) == factor(512, warmup="none")(0) == 2


def test_a_recipe_without_scaling_keeps_its_schedule():
    schedule = lambda epoch: 0.5  # noqa: E731
    assert scaled(schedule, recipe.load("digits/quick")) is schedule


def trace(chosen, processes):
    """The rate of each role at each step, for the gradient of the batch's mean loss."""
    network = models.build_network(chosen.model, (3, 32, 32), 10)
    local = chosen.batch_size // processes
    steps = chosen.steps(IMAGES)
    optimizer = make_optimizer(
        network, chosen, local_batch_size=local, steps=steps, steps_per_epoch=chosen.steps_per_epoch(IMAGES)
    )
    scale = local if chosen.loss.reduction == "sum" else 1
    groups = [group for inner in optimizer.optimizers for group in inner.param_groups]
    rates = {group["role"]: [] for group in groups}
    for step in range(steps):
        optimizer.step(step)  # without gradients: only the rates change
        for group in groups:
            rates[group["role"]].append((group["lr"] * scale, group["weight_decay"] / scale))
    return rates


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_whole_trace_of_rates_knows_nothing_of_the_processes(reduction):
    """1 x 512, 2 x 256, 4 x 128, 1 x 4 micro-batches of 128: the samples seen decide."""
    small = ["model.widths=[4,4,6,8]", "precision=float32", "epochs=6", "schedule.epochs=[0,2,6]"]
    scaling = "scaling={reference_batch: 128, warmup_epochs: 2}"
    chosen = recipe.load("cifar10/davidnet-10", [*small, f"loss.reduction={reduction}", scaling])
    torch.manual_seed(0)
    one, two, four = (trace(chosen, processes) for processes in (1, 2, 4))
    accumulated = trace(chosen.model_copy(update={"accumulation": 4}), 1)
    assert {role: len(rates) for role, rates in one.items()} == dict.fromkeys(one, chosen.steps(IMAGES))
    plain = trace(chosen.model_copy(update={"scaling": None}), 1)
    for role, rates in one.items():
        assert rates[4:] != plain[role][4:]
        for other in (two, four, accumulated):
            torch.testing.assert_close(torch.tensor(other[role]), torch.tensor(rates))
