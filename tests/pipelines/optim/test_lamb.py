import pytest
import torch

from pipelines.optim.lamb import LAMB

SHAPES = [(4, 3, 2, 2), (5, 7), (6,)]
GROUPS = [
    {"lr": 0.03, "weight_decay": 0.02},
    {"lr": 0.03, "weight_decay": 0.0, "betas": (0.5, 0.7)},
    {"lr": 0.1, "weight_decay": 0.0, "adaptive": False},
]
BETAS, EPS = (0.9, 0.99), 1e-6


def tensors(seed, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for shape in SHAPES]


def one(weight, **options):
    parameter = torch.nn.Parameter(weight)
    return parameter, LAMB([parameter], **options)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_steps_are_those_of_a_plain_reference(dtype):
    """The paper's algorithm 2, tensor by tensor, in which the first tensor sees every other gradient only."""
    parameters = [torch.nn.Parameter(tensor) for tensor in tensors(0, dtype)]
    groups = [{"params": [parameter], **group} for parameter, group in zip(parameters, GROUPS, strict=True)]
    optimizer = LAMB(groups, betas=BETAS, eps=EPS)
    weights = tensors(0)
    means, squares, counts = ([torch.zeros_like(weight) for weight in weights] for _ in range(3))
    for step in range(1, 7):
        gradients = tensors(step)
        for index, (parameter, gradient) in enumerate(zip(parameters, gradients, strict=True)):
            parameter.grad = gradient.to(dtype) if index or step % 2 else None
        optimizer.step()
        for index in range(0 if step % 2 else 1, 3):
            weight, gradient, group = weights[index], gradients[index], GROUPS[index]
            first, second = group.get("betas", BETAS)
            counts[index] += 1
            means[index] = first * means[index] + (1 - first) * gradient
            squares[index] = second * squares[index] + (1 - second) * gradient**2
            mean = means[index] / (1 - first ** counts[index])
            square = squares[index] / (1 - second ** counts[index])
            direction = mean / (square.sqrt() + EPS) + group["weight_decay"] * weight
            ratio = weight.norm() / direction.norm() if group.get("adaptive", True) else 1
            weight.sub_(group["lr"] * ratio * direction)
    for parameter, weight in zip(parameters, weights, strict=True):
        torch.testing.assert_close(parameter.detach(), weight.to(dtype))


def test_every_step_is_the_rate_times_the_norm_of_the_weight():
    parameter, optimizer = one(tensors(0)[1], lr=0.05, weight_decay=0.1)
    for step in range(3):
        before = parameter.detach().clone()
        parameter.grad = 1e4 * tensors(step)[1]
        optimizer.step()
        assert (parameter.detach() - before).norm().item() == pytest.approx(0.05 * before.norm().item())


def test_a_weight_of_norm_zero_takes_adam_s_step():
    parameter, optimizer = one(torch.zeros(2, 3), lr=0.1, eps=1e-12)
    parameter.grad = torch.full((2, 3), 7.0)
    optimizer.step()
    torch.testing.assert_close(parameter.detach(), torch.full((2, 3), -0.1))


def test_without_gradients_and_decay_nothing_moves():
    parameter, optimizer = one(torch.ones(2, 3), lr=0.1)
    parameter.grad = torch.zeros(2, 3)
    optimizer.step()
    assert torch.equal(parameter, torch.ones(2, 3))


def test_without_adaptation_it_is_torch_s_adamw():
    mine, plain = torch.nn.Parameter(tensors(0)[1]), torch.nn.Parameter(tensors(0)[1])
    options = {"lr": 0.1, "betas": BETAS, "eps": 1e-4, "weight_decay": 0.0}
    optimizers = [LAMB([{"params": [mine], "adaptive": False}], **options), torch.optim.AdamW([plain], **options)]
    for step in range(5):
        for parameter, optimizer in zip((mine, plain), optimizers, strict=True):
            parameter.grad = tensors(step)[1]
            optimizer.step()
    torch.testing.assert_close(mine, plain)
