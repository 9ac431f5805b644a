from copy import deepcopy

import pytest
import torch
from torch import nn

from pipelines import models, recipe
from pipelines.losses import make_loss
from pipelines.optimizers import MasterStepper, Stepper, make_optimizer, parameter_groups

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


def in_double(knobs):
    """The loss without the cast to float32 of the logits."""
    return nn.CrossEntropyLoss(reduction=knobs.reduction, label_smoothing=knobs.label_smoothing)


def path(chosen, dtype, loss_of, steps=60, parts=1):
    """The weights after every step; with parts, gradients are means over so many processes' shares of the batch."""
    network = small_network(dtype)
    stepper = make_optimizer(network, chosen, BATCH // parts)
    loss = loss_of(chosen.loss)
    weights = []
    for step in range(steps):
        images, labels = data(dtype, seed=step % 7)
        shares = zip(images.chunk(parts), labels.chunk(parts), strict=True)
        (sum(loss(network(part), wanted) for part, wanted in shares) / parts).backward()
        stepper.step(lr_factor=1 - step / steps)
        weights.append(nn.utils.parameters_to_vector(network.parameters()).detach().clone())
    return torch.stack(weights)


@pytest.mark.parametrize(("nesterov", "momentum"), [("true", "0.9"), ("false", "0.9"), ("false", "0")])
@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize(
    ("dtype", "loss_of", "rtol"), [(torch.float64, in_double, 1e-9), (torch.float32, make_loss, 1e-3)]
)
def test_summed_and_mean_loss_take_the_same_path(nesterov, momentum, parts, dtype, loss_of, rtol):
    knobs = [
        "optimizer.lr=0.3",
        f"optimizer.momentum={momentum}",
        f"optimizer.nesterov={nesterov}",
        "optimizer.weight_decay=0.01",
        "optimizer.bias_lr_factor=3",
        "optimizer.bias_weight_decay_factor=0.2",
        "loss.label_smoothing=0.1",
    ]
    mean = path(digits_recipe(*knobs, "loss.reduction=mean"), dtype, loss_of)
    summed = path(digits_recipe(*knobs, "loss.reduction=sum"), dtype, loss_of, parts=parts)
    assert (mean[-1] - mean[0]).abs().max() > 0.1
    torch.testing.assert_close(summed, mean, rtol=rtol, atol=rtol / 10)


def test_a_path_is_that_of_torch_s_sgd():
    network, plain = small_network(), small_network()
    stepper = make_optimizer(network, digits_recipe("optimizer.lr=0.5", "optimizer.weight_decay=0.01"), BATCH)
    expected = torch.optim.SGD(plain.parameters(), lr=0.5, momentum=0.9, nesterov=True, weight_decay=0.01)
    for step in range(20):
        images, labels = data(seed=step)
        factor = 1 / (step + 1)
        expected.param_groups[0]["lr"] = 0.5 * factor
        for model in (network, plain):
            nn.functional.cross_entropy(model(images), labels).backward()
        stepper.step(factor)
        expected.step()
        expected.zero_grad()
    for mine, other in zip(network.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine, other)


def test_gradients_are_dropped_after_a_step():
    network = small_network()
    stepper = make_optimizer(network, digits_recipe(), BATCH)
    network(data()[0]).sum().backward()
    stepper.step(1.0)
    assert all(parameter.grad is None for parameter in network.parameters())


def test_rates_and_decays_of_davidnet():
    chosen = recipe.load("cifar10/davidnet-10")
    with torch.device("meta"):
        network = models.build_network(chosen.model, (3, 32, 32), 10)
    weights, biases = parameter_groups(network.named_parameters(), chosen, local_batch_size=512)
    assert (weights["lr"], weights["weight_decay"]) == pytest.approx((1.0 / 512, 5e-4 * 512))
    assert (biases["lr"], biases["weight_decay"]) == pytest.approx((64 / 512, 5e-4 * 512 / 64))
    assert (weights["base_lr"], biases["base_lr"]) == (weights["lr"], biases["lr"])
    assert [len(group["params"]) for group in (weights, biases)] == [9, 8]  # eight convolutions, the head; eight norms
    chosen = recipe.load("cifar10/davidnet-10", ["loss.reduction=mean"])
    weights, biases = parameter_groups(network.named_parameters(), chosen, local_batch_size=512)
    assert (weights["lr"], weights["weight_decay"]) == (1.0, 5e-4)
    assert (biases["lr"], biases["weight_decay"]) == (64, 5e-4 / 64)


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_adamw_has_the_recipe_s_knobs(decay):
    chosen = digits_recipe(f"optimizer={{name: adamw, lr: 0.02, betas: [0.8, 0.95], weight_decay: {decay}}}")
    optimizer = make_optimizer(small_network(), chosen, BATCH).optimizer
    assert isinstance(optimizer, torch.optim.AdamW)
    assert [(group["lr"], group["betas"], group["weight_decay"]) for group in optimizer.param_groups] == [
        (0.02, (0.8, 0.95), decay)
    ] * 2


def test_frozen_parameters_are_not_touched():
    network = small_network(torch.bfloat16)
    network[0].weight.requires_grad = False
    before = deepcopy(network.state_dict())
    stepper = make_optimizer(network, digits_recipe("optimizer.weight_decay=0.5"), BATCH)
    images, labels = data(torch.bfloat16)
    for _ in range(3):
        nn.functional.cross_entropy(network(images), labels).backward()
        stepper.step(1.0)
    changed = {name for name, values in network.state_dict().items() if not torch.equal(values, before[name])}
    assert changed == {"0.bias", "2.weight", "2.bias"}


def test_small_updates_of_bfloat16_weights_arrive():
    network = nn.Linear(1, 1, bias=False).bfloat16()
    lost = nn.Parameter(torch.ones(1, dtype=torch.bfloat16))
    nn.init.ones_(network.weight)
    plain = digits_recipe("optimizer={name: sgd, lr: 1e-4, momentum: 0, nesterov: false}")
    stepper = make_optimizer(network, plain, 1)
    assert isinstance(stepper, MasterStepper)
    without_masters = torch.optim.SGD([lost], lr=1e-4)
    for _ in range(1000):
        network.weight.grad = torch.ones_like(network.weight)
        lost.grad = torch.ones_like(lost)
        stepper.step(1.0)
        without_masters.step()
    assert lost.item() == 1
    assert stepper.masters[0].item() == pytest.approx(0.9, rel=1e-4)
    assert network.weight.item() == pytest.approx(0.9, rel=2**-8)


def test_bfloat16_weights_are_always_the_rounded_masters():
    network = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5).float(), nn.Linear(5, 4))
    for layer in (network[0], network[2]):
        layer.bfloat16()
    stepper = make_optimizer(network, digits_recipe(), BATCH)
    images, labels = data(torch.bfloat16)
    before = [master.clone() for master in stepper.masters]
    for _ in range(5):
        hidden = network[1](network[0](images).float()).bfloat16()
        make_loss(digits_recipe().loss)(network[2](hidden), labels).backward()
        stepper.step(1.0)
        halves = [parameter for parameter in network.parameters() if parameter.dtype == torch.bfloat16]
        assert len(stepper.masters) == len(halves) == 4
        for parameter, master in zip(halves, stepper.masters, strict=True):
            assert master.dtype == torch.float32
            assert torch.equal(parameter, master.bfloat16())
    assert not any(torch.equal(old, new) for old, new in zip(before, stepper.masters, strict=True))
    assert len(stepper.optimizer.param_groups[0]["params"] + stepper.optimizer.param_groups[1]["params"]) == 6


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_only_bfloat16_needs_masters(dtype):
    assert type(make_optimizer(small_network(dtype), digits_recipe(), BATCH)) is Stepper
