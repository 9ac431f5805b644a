from copy import deepcopy

import pytest
import torch
from torch import nn

from kernels.orthogonalize import POLAR_EXPRESS, QUINTIC
from pipelines import models, recipe
from pipelines.losses import make_loss
from pipelines.optim.optimizers import make_optimizer, polynomials
from pipelines.optim.scheduled_optimizer import MasterWeightOptimizer, ScheduledOptimizer

BATCH = 12


def digits_recipe(*overrides):
    return recipe.load("digits/quick", overrides)


def small_network(dtype=torch.float32):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4)).to(dtype)


def data(dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(BATCH, 6, generator=generator, dtype=torch.float64).to(dtype)
    return images, torch.randint(4, (BATCH,), generator=generator)


def optimizer_of(network, chosen, batch=BATCH, steps=1000, steps_per_epoch=1):
    return make_optimizer(network, chosen, local_batch_size=batch, steps=steps, steps_per_epoch=steps_per_epoch)


def groups_of(optimizer):
    return {group["role"]: group for inner in optimizer.optimizers for group in inner.param_groups}


CONSTANT = "schedule={name: constant}"


def in_double(config):
    """The loss without the cast to float32 of the logits."""
    return nn.CrossEntropyLoss(reduction=config.reduction, label_smoothing=config.label_smoothing)


def path(chosen, dtype, loss_of, steps=60, parts=1):
    """The weights after every step; with parts, gradients are means over so many processes' shares of the batch."""
    network = small_network(dtype)
    optimizer = optimizer_of(network, chosen, BATCH // parts, steps, steps_per_epoch=steps)
    loss = loss_of(chosen.loss)
    weights = []
    for step in range(steps):
        images, labels = data(dtype, seed=step % 7)
        shares = zip(images.chunk(parts), labels.chunk(parts), strict=True)
        (sum(loss(network(part), wanted) for part, wanted in shares) / parts).backward()
        optimizer.step(step)
        weights.append(nn.utils.parameters_to_vector(network.parameters()).detach().clone())
    return torch.stack(weights)


@pytest.mark.parametrize(("nesterov", "momentum"), [("true", "0.9"), ("false", "0.9"), ("false", "0")])
@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize(
    ("dtype", "loss_of", "rtol"), [(torch.float64, in_double, 1e-9), (torch.float32, make_loss, 1e-3)]
)
def test_summed_and_mean_loss_take_the_same_path(nesterov, momentum, parts, dtype, loss_of, rtol):
    config = [
        "optimizer.lr=0.3",
        f"optimizer.momentum={momentum}",
        f"optimizer.nesterov={nesterov}",
        "optimizer.weight_decay=0.01",
        "optimizer.bias_lr_factor=3",
        "optimizer.bias_weight_decay_factor=0.2",
        "loss.label_smoothing=0.1",
        "schedule={name: piecewise_linear, epochs: [0, 1], values: [1, 0]}",
    ]
    mean = path(digits_recipe(*config, "loss.reduction=mean"), dtype, loss_of)
    summed = path(digits_recipe(*config, "loss.reduction=sum"), dtype, loss_of, parts=parts)
    assert (mean[-1] - mean[0]).abs().max() > 0.1
    torch.testing.assert_close(summed, mean, rtol=rtol, atol=rtol / 10)


def test_a_path_is_that_of_torch_s_sgd():
    network, plain = small_network(), small_network()
    falling = "schedule={name: piecewise_linear, epochs: [0, 1], values: [1, 0]}"
    chosen = digits_recipe("optimizer.lr=0.5", "optimizer.weight_decay=0.01", falling)
    optimizer = optimizer_of(network, chosen, steps=20, steps_per_epoch=20)
    expected = torch.optim.SGD(plain.parameters(), lr=0.5, momentum=0.9, nesterov=True, weight_decay=0.01)
    for step in range(20):
        images, labels = data(seed=step)
        expected.param_groups[0]["lr"] = 0.5 * (1 - step / 20)
        for model in (network, plain):
            nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step(step)
        expected.step()
        expected.zero_grad()
    for mine, other in zip(network.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine, other)


def test_muons_sgd_may_have_no_momentum():
    network = nn.Conv2d(1, 2, 3)
    line = "optimizer={name: muon, lr: 0.1, bias_lr: 0.05, head_lr: 0.1, sgd_momentum: 0}"
    optimizer = optimizer_of(network, digits_recipe(line, CONSTANT))
    network(torch.ones(1, 1, 3, 3)).sum().backward()
    expected = network.bias.detach() - 0.05
    optimizer.step(0)
    torch.testing.assert_close(network.bias.detach(), expected)


def test_gradients_are_dropped_after_a_step():
    network = small_network()
    optimizer = optimizer_of(network, digits_recipe())
    network(data()[0]).sum().backward()
    optimizer.step(0)
    assert all(parameter.grad is None for parameter in network.parameters())


def rates(name, local_batch_size, *overrides):
    """Rate, decay and number of parameters of each group, by the role of its first."""
    chosen = recipe.load(name, ["precision=float32", *overrides])
    network = models.build_network(chosen.model, (3, 32, 32), 10)
    groups = groups_of(optimizer_of(network, chosen, local_batch_size))
    return {role: (group["base_lr"], group.get("weight_decay"), len(group["params"])) for role, group in groups.items()}


@pytest.mark.parametrize(("reduction", "scale"), [("sum", 512), ("mean", 1)])
def test_rates_and_decays_of_davidnet(reduction, scale):
    found = rates("cifar10/davidnet-10", 512, f"loss.reduction={reduction}")
    plain = (1.0 / scale, 5e-4 * scale)
    assert found["filter"] == pytest.approx((*plain, 9))  # the head among them
    assert found["bias"] == pytest.approx((64 / scale, 5e-4 * scale / 64, 8))
    assert set(found) == {"filter", "bias"}


def test_rates_and_decays_of_airbench94():
    """The summed loss, rate 11.5 and decay 0.0153 per 1,024 examples, decoupled from momentum, biases times 64."""
    kilostep = 1024 * (1 + 1 / (1 - 0.85))
    lr, decay = 11.5 / kilostep, 0.0153 * 1024 / kilostep
    found = rates("cifar10/airbench94", 1024)
    assert found["filter"] == pytest.approx((lr, decay / lr, 7), rel=1e-4)
    assert found["whitening_bias"] == pytest.approx((lr, decay / lr, 1), rel=1e-4)
    assert found["bias"] == pytest.approx((64 * lr, decay / lr / 64, 6), rel=1e-4)


def test_rates_and_decays_of_airbench94_muon():
    """The summed loss: biases 0.053, head 0.67, decay 2e-6 an example over the rate; filters by Muon at 0.24."""
    found = rates("cifar10/airbench94-muon", 2000)
    decay = 2e-6 * 2000
    assert found["filter"] == (0.24, 0.0, 6)
    assert found["bias"] == pytest.approx((0.053, decay / 0.053, 6))
    assert found["whitening_bias"] == pytest.approx((0.053, decay / 0.053, 1))
    assert found["head"] == pytest.approx((0.67, decay / 0.67, 1))


def test_the_whitening_bias_can_have_a_schedule_of_its_own():
    chosen = recipe.load("cifar10/airbench94-muon", ["precision=float32"])
    network = models.build_network(chosen.model, (3, 32, 32), 10)
    optimizer, seen = optimizer_of(network, chosen, 2000, steps=200, steps_per_epoch=25), []
    for step in range(200):
        optimizer.step(step)
        seen.append({role: group["lr"] / group["base_lr"] for role, group in groups_of(optimizer).items()})
    for step, factors in enumerate(seen):
        assert [factors[role] for role in ("filter", "head", "bias")] == pytest.approx([1 - step / 200] * 3)
        assert factors["whitening_bias"] == pytest.approx(max(0, 1 - step / 75), abs=1e-12)


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_adamw_has_the_recipe_s_options(decay):
    chosen = digits_recipe(f"optimizer={{name: adamw, lr: 0.02, betas: [0.8, 0.95], weight_decay: {decay}}}")
    (optimizer,) = optimizer_of(small_network(), chosen).optimizers
    assert isinstance(optimizer, torch.optim.AdamW)
    assert [(group["lr"], group["betas"], group["weight_decay"]) for group in optimizer.param_groups] == [
        (0.02, (0.8, 0.95), decay)
    ] * 2


def test_frozen_parameters_are_not_touched():
    network = small_network(torch.bfloat16)
    network[0].weight.requires_grad = False
    before = deepcopy(network.state_dict())
    optimizer = optimizer_of(network, digits_recipe("optimizer.weight_decay=0.5", CONSTANT))
    images, labels = data(torch.bfloat16)
    for _ in range(3):
        nn.functional.cross_entropy(network(images), labels).backward()
        optimizer.step(0)
    changed = {name for name, values in network.state_dict().items() if not torch.equal(values, before[name])}
    assert changed == {"0.bias", "2.weight", "2.bias"}


def test_small_updates_of_bfloat16_weights_arrive():
    network = nn.Linear(1, 1, bias=False).bfloat16()
    lost = nn.Parameter(torch.ones(1, dtype=torch.bfloat16))
    nn.init.ones_(network.weight)
    plain = digits_recipe("optimizer={name: sgd, lr: 1e-4, momentum: 0, nesterov: false}", CONSTANT)
    optimizer = optimizer_of(network, plain, batch=1)
    assert isinstance(optimizer, MasterWeightOptimizer)
    without_masters = torch.optim.SGD([lost], lr=1e-4)
    for _ in range(1000):
        network.weight.grad = torch.ones_like(network.weight)
        lost.grad = torch.ones_like(lost)
        optimizer.step(0)
        without_masters.step()
    assert lost.item() == 1
    assert optimizer.masters[0].item() == pytest.approx(0.9, rel=1e-4)
    assert network.weight.item() == pytest.approx(0.9, rel=2**-8)


def test_bfloat16_weights_are_always_the_rounded_masters():
    network = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5).float(), nn.Linear(5, 4))
    for layer in (network[0], network[2]):
        layer.bfloat16()
    optimizer = optimizer_of(network, digits_recipe())
    images, labels = data(torch.bfloat16)
    before = [master.clone() for master in optimizer.masters]
    for _ in range(5):
        hidden = network[1](network[0](images).float()).bfloat16()
        make_loss(digits_recipe().loss)(network[2](hidden), labels).backward()
        optimizer.step(0)
        halves = [parameter for parameter in network.parameters() if parameter.dtype == torch.bfloat16]
        assert len(optimizer.masters) == len(halves) == 4
        for parameter, master in zip(halves, optimizer.masters, strict=True):
            assert master.dtype == torch.float32
            assert torch.equal(parameter, master.bfloat16())
    assert not any(torch.equal(old, new) for old, new in zip(before, optimizer.masters, strict=True))
    assert sum(len(group["params"]) for group in groups_of(optimizer).values()) == 6


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_only_bfloat16_needs_masters(dtype):
    assert type(optimizer_of(small_network(dtype), digits_recipe())) is ScheduledOptimizer


def test_an_average_is_taken_over_the_masters_and_published_from_them():
    network = small_network(torch.bfloat16)
    optimizer = optimizer_of(network, digits_recipe())
    master_tensors = optimizer.master_tensors(network)
    assert [tensor.dtype for tensor in master_tensors] == [torch.float32] * 4
    for tensor in master_tensors:
        tensor.fill_(1 / 3)
    optimizer.copy_to_model()
    assert all((parameter == torch.tensor(1 / 3).bfloat16()).all() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], 3 * [QUINTIC]),
        (["optimizer.coefficients=[1.5, -0.5, 0]", "optimizer.steps=2"], 2 * [(1.5, -0.5, 0.0)]),
        (["optimizer.coefficients=polar_express", "optimizer.steps=9"], [*POLAR_EXPRESS, POLAR_EXPRESS[-1]]),
    ],
)
def test_muon_has_a_polynomial_for_each_iteration(options, expected):
    assert polynomials(recipe.load("cifar10/airbench94-muon", options).optimizer) == expected
