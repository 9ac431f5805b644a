import pytest
import torch

from pipelines.optim.lars import LARS

SHAPES = [(4, 3, 2, 2), (5, 7), (6,)]
GROUPS = [
    {"lr": 0.7, "weight_decay": 0.02},
    {"lr": 0.7, "weight_decay": 0.0, "momentum": 0.5},
    {"lr": 0.1, "weight_decay": 0.0, "adaptive": False},
]


def tensors(seed, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for shape in SHAPES]


def one(weight, **options):
    parameter = torch.nn.Parameter(weight)
    return parameter, LARS([parameter], **options)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_steps_are_those_of_a_plain_reference(dtype):
    """The paper's algorithm 1, tensor by tensor; trust ratio 0.01."""
    parameters = [torch.nn.Parameter(tensor) for tensor in tensors(0, dtype)]
    groups = [{"params": [parameter], **group} for parameter, group in zip(parameters, GROUPS, strict=True)]
    optimizer = LARS(groups, momentum=0.9, trust=0.01)
    weights = tensors(0)
    velocities = [torch.zeros_like(weight) for weight in weights]
    for step in range(1, 6):
        gradients = tensors(step)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient.to(dtype)
        optimizer.step()
        for weight, velocity, gradient, group in zip(weights, velocities, gradients, GROUPS, strict=True):
            decay = group["weight_decay"]
            local = 0.01 * weight.norm() / (gradient.norm() + decay * weight.norm()) if group.get("adaptive", 1) else 1
            velocity.mul_(group.get("momentum", 0.9)).add_(group["lr"] * local * (gradient + decay * weight))
            weight.sub_(velocity)
    for parameter, weight in zip(parameters, weights, strict=True):
        torch.testing.assert_close(parameter.detach(), weight.to(dtype))


def test_the_first_step_is_the_trust_ratio_times_the_norm_of_the_weight():
    parameter, optimizer = one(torch.full((3, 3), 2.0), lr=0.5, trust=1e-3)
    before = parameter.detach().clone()
    parameter.grad = torch.rand(3, 3) * 1e6
    optimizer.step()
    assert (parameter.detach() - before).norm().item() == pytest.approx(0.5 * 1e-3 * before.norm().item(), rel=1e-4)


def test_the_scale_of_the_gradient_does_not_matter():
    paths = []
    for scale in (1, 1024):
        parameter, optimizer = one(tensors(0)[1], trust=0.1)
        for step in range(5):
            parameter.grad = scale * tensors(step)[1]
            optimizer.step()
        paths.append(parameter.detach())
    torch.testing.assert_close(*paths)


def test_a_weight_of_norm_zero_takes_a_plain_step():
    parameter, optimizer = one(torch.zeros(2, 3), lr=0.1, weight_decay=0.5)
    parameter.grad = torch.ones(2, 3)
    optimizer.step()
    torch.testing.assert_close(parameter.detach(), torch.full((2, 3), -0.1))


@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_a_gradient_of_norm_zero_leaves_the_decay(decay):
    """The step of the decay alone is the trust ratio times the weight, and nothing without a decay."""
    parameter, optimizer = one(torch.ones(2, 3), lr=1.0, trust=0.01, weight_decay=decay)
    parameter.grad = torch.zeros(2, 3)
    optimizer.step()
    torch.testing.assert_close(parameter.detach(), torch.full((2, 3), 0.99 if decay else 1.0))


def test_momentum_remembers_the_learning_rate_of_its_day():
    """As in the paper: lowering the rate does not shrink what the momentum holds."""
    parameter, optimizer = one(torch.ones(1), lr=1.0, momentum=0.5)
    optimizer.param_groups[0]["adaptive"] = False
    for lr in (1.0, 0.0):
        optimizer.param_groups[0]["lr"] = lr
        parameter.grad = torch.ones(1)
        optimizer.step()
    assert parameter.item() == 1 - 1 - 0.5


def test_without_adaptation_it_is_torch_s_sgd():
    mine, plain = torch.nn.Parameter(tensors(0)[1]), torch.nn.Parameter(tensors(0)[1])
    options = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}
    optimizers = [LARS([{"params": [mine], "adaptive": False}], **options), torch.optim.SGD([plain], **options)]
    for step in range(5):
        for parameter, optimizer in zip((mine, plain), optimizers, strict=True):
            parameter.grad = tensors(step)[1]
            optimizer.step()
    torch.testing.assert_close(mine, plain)


def test_a_parameter_without_a_gradient_is_left_alone():
    parameters = [torch.nn.Parameter(tensor) for tensor in tensors(0)]
    before = [parameter.detach().clone() for parameter in parameters]
    parameters[1].grad = torch.ones_like(parameters[1])
    LARS(parameters).step()
    assert [torch.equal(p, old) for p, old in zip(parameters, before, strict=True)] == [True, False, True]
