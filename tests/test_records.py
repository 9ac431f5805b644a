"""hlb, hiverge and E1 against their sources: the rates of every step, in the units that the sources use."""

import math

import pytest
import torch

from pipelines import models, recipe
from pipelines.evaluate import VIEWS
from pipelines.optim.optimizers import make_optimizer

TRAINING_IMAGES = 50_000


def optimizer_of(name):
    """The recipe's optimizers, and its steps."""
    chosen = recipe.load(name, ["precision=float32"])
    network = models.build_network(chosen.model, (3, 32, 32), 10)
    steps, steps_per_epoch = chosen.steps(TRAINING_IMAGES), chosen.steps_per_epoch(TRAINING_IMAGES)
    batch = chosen.batch_size
    optimizer = make_optimizer(network, chosen, local_batch_size=batch, steps=steps, steps_per_epoch=steps_per_epoch)
    return optimizer, steps


def groups_of(optimizer):
    return {group["role"]: group for inner in optimizer.optimizers for group in inner.param_groups}


def factors_of(name):
    """For each step, each role's factor on its rate."""
    optimizer, steps = optimizer_of(name)
    factors = []
    for step in range(steps):
        optimizer.step(step)
        factors.append({role: group["lr"] / group["base_lr"] for role, group in groups_of(optimizer).items()})
    return factors


@pytest.mark.parametrize(("name", "filters_lr"), [("cifar10/hiverge", 0.205), ("cifar10/e1", 0.2255)])
def test_rates_and_decays_of_hiverge_and_e1(name, filters_lr):
    """For the summed loss: biases 0.0573, head 0.5415, decay 1.0418e-6 an example; over the rate but for filters."""
    found = {
        role: (group["base_lr"], group["weight_decay"]) for role, group in groups_of(optimizer_of(name)[0]).items()
    }
    decay = 1.0418e-6 * 1536
    assert found["filter"] == pytest.approx((filters_lr, decay), rel=1e-4)
    assert found["head"] == pytest.approx((0.5415, decay / 0.5415), rel=1e-4)
    for role in ("bias", "whitening_bias"):
        assert found[role] == pytest.approx((0.0573, decay / 0.0573), rel=1e-4)


@pytest.mark.parametrize("name", ["cifar10/hiverge", "cifar10/e1"])
def test_momenta_and_coefficients_of_hiverge_and_e1(name):
    muon, sgd = optimizer_of(name)[0].optimizers
    (filters,) = muon.param_groups
    assert filters["momentum"] == 0.655
    assert filters["polynomials"] == 3 * ((3.4576, -4.7391, 2.0843),)
    assert all(group["momentum"] == 0.825 and group["nesterov"] for group in sgd.param_groups)


def test_the_schedule_of_hiverge():
    factors = factors_of("cifar10/hiverge")
    assert len(factors) == 245
    for step, found in enumerate(factors):
        expected = pytest.approx([1 - step / 245] * 3, abs=1e-9)
        assert [found[role] for role in ("filter", "head", "bias")] == expected
        assert found["whitening_bias"] == pytest.approx(max(0, 1 - step / 7), abs=1e-9)


def test_the_schedule_of_e1():
    factors = factors_of("cifar10/e1")
    assert len(factors) == 284
    for step, found in enumerate(factors):
        assert [found[role] for role in ("filter", "head", "bias")] == pytest.approx([max(1 - step / 272, 0.05)] * 3)
        assert found["whitening_bias"] == pytest.approx(max(0, 1 - step / 7), abs=1e-9)


def test_rates_and_decays_of_hlb():
    """For the sum over 1,024 images times 1/2: rate 1.525 / 512 and decay 6.687e-4 * 1024, biases times 64."""
    found = groups_of(optimizer_of("cifar10/hlb")[0])
    lr, decay = 1.525 / 512 / 2, 6.687e-4 * 1024 * 2  # the same path for the sum without the half
    for role, factor in (("filter", 1), ("bias", 64)):
        group = found[role]
        assert (group["base_lr"], group["weight_decay"]) == pytest.approx((lr * factor, decay / factor), rel=1e-4)
        assert (group["momentum"], group["nesterov"]) == (0.85, True)
    assert set(found) == {"filter", "bias"}


def test_the_schedule_of_hlb_is_its_one_cycle():
    """By torch's own, with the arguments of the source."""
    plain = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    one_cycle = torch.optim.lr_scheduler.OneCycleLR(
        plain,
        max_lr=1.0,
        pct_start=0.23,
        div_factor=1e16,
        final_div_factor=1 / (1e16 * 0.07),
        total_steps=581,
        anneal_strategy="linear",
        cycle_momentum=False,
    )
    found = factors_of("cifar10/hlb")
    assert len(found) == 581
    for factors in found:
        assert list(factors.values()) == pytest.approx([plain.param_groups[0]["lr"]] * len(factors), abs=1e-9)
        plain.step()
        if factors is not found[-1]:
            one_cycle.step()


def test_networks_and_evaluation_of_the_records():
    hlb, hiverge, e1 = (recipe.load(f"cifar10/{name}") for name in ("hlb", "hiverge", "e1"))
    assert hlb.model.widths == (64, 256, 512)
    assert hlb.techniques.cutmix.size == 3
    assert hlb.techniques.cutmix.from_epoch == math.ceil(12.1 - 6)
    assert (hlb.model.whitening.images, hlb.model.whitening.eps, hlb.model.norm.momentum) == (50_000, 1e-2, 0.4)
    assert (hiverge.model.whitening.images, e1.model.whitening.images) == (960, 5000)
    assert hiverge.model.norm.momentum == e1.model.norm.momentum == pytest.approx(1 - 0.5566)
    assert [chosen.loss.label_smoothing for chosen in (hlb, hiverge, e1)] == [0.2, 0.09, 0.09]
    assert [chosen.evaluation.tta_share for chosen in (hlb, hiverge, e1)] == [1, 0.25, 1]
    assert [len(VIEWS[chosen.evaluation.tta]) for chosen in (hlb, hiverge, e1)] == [2, 6, 6]
