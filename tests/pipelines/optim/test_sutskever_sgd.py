import pytest
import torch

from pipelines import models, recipe
from pipelines.optim.optimizers import make_optimizer
from pipelines.optim.sutskever_sgd import SutskeverSGD

RATES = (0.1, 0.3, 0.0, 0.2, 0.05)


def path(optimizer_of, rates):
    """A weight after each step on the same gradients, at these learning rates."""
    weight = torch.nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
    optimizer = optimizer_of([weight])
    found = []
    for step, lr in enumerate(rates):
        optimizer.param_groups[0]["lr"] = lr
        weight.grad = torch.tensor([0.5 + step, -1.0], dtype=torch.float64)
        optimizer.step()
        found.append(weight.detach().clone())
    return torch.stack(found)


def ours(nesterov=True):
    return lambda weights: SutskeverSGD(weights, 1.0, 0.9, weight_decay=0.1, nesterov=nesterov)


def torchs(nesterov=True):
    return lambda weights: torch.optim.SGD(weights, 1.0, momentum=0.9, weight_decay=0.1, nesterov=nesterov)


@pytest.mark.parametrize("nesterov", [True, False])
def test_at_a_constant_rate_it_is_torch_s_sgd(nesterov):
    paths = path(ours(nesterov), [0.1] * 6), path(torchs(nesterov), [0.1] * 6)
    torch.testing.assert_close(*paths, rtol=1e-14, atol=1e-14)


def test_at_a_changing_rate_it_is_not():
    difference = (path(ours(), RATES) - path(torchs(), RATES)).abs().max(1).values
    assert difference[0] == 0
    assert (difference[1:] > 1e-3).all()


@pytest.mark.parametrize("nesterov", [True, False])
def test_the_rate_of_each_gradient_stays_with_it(nesterov):
    """By hand: v = 0.9 v - lr (g + 0.1 w), and w moves by v, or by 0.9 v - lr (g + 0.1 w)."""
    weight, velocity, expected = torch.tensor([1.0, -2.0], dtype=torch.float64), 0.0, []
    for step, lr in enumerate(RATES):
        update = -lr * (torch.tensor([0.5 + step, -1.0], dtype=torch.float64) + 0.1 * weight)
        velocity = 0.9 * velocity + update
        weight = weight + (update + 0.9 * velocity if nesterov else velocity)
        expected.append(weight)
    torch.testing.assert_close(path(ours(nesterov), RATES), torch.stack(expected), rtol=1e-14, atol=1e-14)


def test_a_buffer_keeps_its_range_at_a_tiny_rate():
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = SutskeverSGD([weight], 1.0, 0.9)
    for lr in (1.0, 2.0**-20):
        optimizer.param_groups[0]["lr"] = lr
        weight.grad = torch.ones(1)
        optimizer.step()
    assert 0.9 <= optimizer.state[weight]["momentum_buffer"].item() <= 2


def test_parameters_of_a_group_may_be_stepped_one_by_one():
    """As DeepSpeed's ZeRO-3 does, and as where one has no gradient in a step."""
    together = [torch.nn.Parameter(torch.ones(2, dtype=torch.float64)) for _ in range(2)]
    apart = [torch.nn.Parameter(torch.ones(2, dtype=torch.float64)) for _ in range(2)]
    one, other = SutskeverSGD(together, 1.0, 0.9), SutskeverSGD(apart, 1.0, 0.9)
    for lr in RATES:
        one.param_groups[0]["lr"] = other.param_groups[0]["lr"] = lr
        for parameter in together:
            parameter.grad = torch.ones_like(parameter)
        one.step()
        for parameter in apart:
            parameter.grad = torch.ones_like(parameter)
            other.step()
            parameter.grad = None
    assert all(torch.equal(a, b) for a, b in zip(together, apart, strict=True))


def test_a_group_may_hold_several_dtypes():
    mixed = [torch.nn.Parameter(torch.ones(3, dtype=dtype)) for dtype in (torch.float32, torch.float64)]
    for parameter in mixed:
        parameter.grad = torch.ones_like(parameter)
    SutskeverSGD(mixed, 0.25, 0.5, nesterov=False).step()
    assert [parameter.tolist() for parameter in mixed] == [[0.75] * 3] * 2


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_on_a_cpu_is_refused(dtype):
    with pytest.raises(AssertionError, match="skips elements"):
        SutskeverSGD([torch.nn.Parameter(torch.ones(3, dtype=dtype))], 0.1, 0.9)


def test_a_parameter_without_a_gradient_is_left_alone():
    still, moving = (torch.nn.Parameter(torch.ones(2)) for _ in range(2))
    optimizer = SutskeverSGD([still, moving], 0.1, 0.9, weight_decay=0.5)
    moving.grad = torch.ones(2)
    optimizer.step()
    assert torch.equal(still, torch.ones(2))
    assert not torch.equal(moving, torch.ones(2))


@pytest.mark.parametrize(("convention", "kind"), [("sutskever", SutskeverSGD), ("torch", torch.optim.SGD)])
def test_a_recipe_chooses_the_convention(convention, kind):
    chosen = recipe.load("cifar10/davidnet-10", [f"optimizer.momentum_convention={convention}", "precision=float32"])
    network = models.build_network(chosen.model, (3, 32, 32), 10)
    (optimizer,) = make_optimizer(network, chosen, local_batch_size=512, steps=1, steps_per_epoch=1).optimizers
    assert type(optimizer) is kind
    assert optimizer.param_groups[0]["momentum"] == 0.9
