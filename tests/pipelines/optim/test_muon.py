from itertools import islice

import pytest
import torch

from kernels.orthogonalize import QUINTIC, orthogonalize
from pipelines import models, recipe
from pipelines.optim import muon
from pipelines.optim.muon import Muon, renormalizations, renormalize
from pipelines.optim.optimizers import make_optimizer
from tests.fake_cuda.launches import Counted


def filters(*shapes):
    generator = torch.Generator().manual_seed(0)
    return [torch.nn.Parameter(torch.randn(*shape, generator=generator)) for shape in shapes]


def options(**changes):
    return {"lr": 0.1, "momentum": 0.6, "polynomials": 3 * [QUINTIC]} | changes


@pytest.mark.parametrize(("has_bfloat16", "expected"), [(True, torch.bfloat16), (False, torch.float32)])
def test_muon_does_not_emulate_bfloat16(monkeypatch, has_bfloat16, expected):
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: has_bfloat16)
    chosen = recipe.load("cifar10/airbench94-muon", ["batch_size=2"])
    network = models.build_network(chosen.model, (3, 32, 32), 10)
    made = make_optimizer(network, chosen, local_batch_size=2, steps=1, steps_per_epoch=1)
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    dtypes = []
    original = muon.orthogonalize
    monkeypatch.setattr(muon, "orthogonalize", lambda *given: dtypes.append(given[-1]) or original(*given))
    made.step(0)
    assert dtypes == [expected]


def test_a_step_is_the_orthogonalised_nesterov_momentum_of_the_renormalised_filter():
    shapes = [(8, 3, 3, 3), (8, 8, 3, 3), (8, 8, 3, 3)]
    parameters, expected = filters(*shapes), [tensor.detach().clone() for tensor in filters(*shapes)]
    buffers = [torch.zeros_like(tensor) for tensor in expected]
    optimizer = Muon(parameters, **options())
    for step in range(4):
        gradients = [torch.randn(shape, generator=torch.Generator().manual_seed(step)) for shape in shapes]
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient.clone()
        optimizer.step()
        for weight, buffer, gradient in zip(expected, buffers, gradients, strict=True):
            buffer.mul_(0.6).add_(gradient)
            weight.mul_(len(weight) ** 0.5 / weight.norm())
            direction = orthogonalize([(gradient + 0.6 * buffer).flatten(1)])[0]
            weight.sub_(0.1 * direction.float().view_as(weight))
    for parameter, weight in zip(parameters, expected, strict=True):
        assert torch.allclose(parameter, weight, atol=1e-6)


def test_the_memory_order_of_filters_changes_a_step_by_rounding_alone():
    ends = []
    for memory_format in (torch.contiguous_format, torch.channels_last):
        parameters = [
            torch.nn.Parameter(f.detach().to(memory_format=memory_format)) for f in filters((8, 3, 3, 3), (8, 8, 3, 3))
        ]
        optimizer = Muon(parameters, **options())
        for step in range(3):
            for parameter in parameters:
                gradient = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(step))
                parameter.grad = gradient.to(memory_format=memory_format)
            optimizer.step()
        assert all(parameter.is_contiguous(memory_format=memory_format) for parameter in parameters)
        ends.append(parameters)
    for one, other in zip(*ends, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0.1 * 2**-6)


def test_the_momentum_of_all_filters_takes_two_kernels():
    parameters = filters((8, 3, 3, 3), (8, 8, 3, 3))
    optimizer = Muon(parameters, **options())
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    with Counted() as counted, torch.no_grad():
        optimizer._nesterov(parameters, 0.6)
    assert counted.launches == 2


def test_renormalize():
    parameters = filters((8, 3, 3, 3), (4, 4, 1, 1))
    with torch.no_grad():
        renormalize(parameters)
    assert [round(float(parameter.detach().norm()) ** 2, 3) for parameter in parameters] == [8.0, 4.0]


def test_renormalises_only_every_so_many_steps():
    (parameter,) = filters((8, 3, 3, 3))
    optimizer = Muon([parameter], **options(lr=0.0, renormalize_every=3))
    norms = []
    for _ in range(4):
        with torch.no_grad():
            parameter.mul_(2)
        parameter.grad = torch.ones_like(parameter)
        optimizer.step()
        norms.append(float(parameter.detach().norm()) / 8**0.5)
    assert [round(norm / norms[0], 3) for norm in norms[:2]] == [1.0, 2.0]
    assert [round(norm, 3) for norm in norms[2:]] == [1.0, 2.0]


@pytest.mark.parametrize(("total", "growth"), [(245, 0.0612245), (272, 0.0551471), (256, 0.0585938), (200, 0.075)])
def test_renormalisations_are_those_of_hiverge(total, growth):
    """By the letter: every 2 + int(15 * progress) steps, counted from 1."""
    expected, last = [], 0
    for step in range(1, total + 1):
        if step - last >= 2 + int(15 * (step / total)):
            last = step
            expected.append(step)
    due = islice(renormalizations(2, growth), total)
    assert [step for step, is_due in enumerate(due, 1) if is_due] == expected
    assert len(expected) < total / 5


def test_by_default_every_step_renormalises():
    assert all(islice(renormalizations(1, 0.0), 300))


def test_weight_decay_takes_its_share_after_the_step_and_nothing_else():
    (plain,), (decayed,) = filters((8, 3, 3, 3)), filters((8, 3, 3, 3))
    for parameter, decay in ((plain, 0.0), (decayed, 0.25)):
        parameter.grad = torch.ones_like(parameter)
        Muon([parameter], **options(lr=0.5, weight_decay=decay)).step()
    torch.testing.assert_close(decayed, plain * (1 - 0.5 * 0.25))


def test_a_filter_without_a_gradient_is_left_alone():
    parameters = filters((8, 3, 3, 3), (8, 3, 3, 3))
    parameters[1].grad = torch.ones_like(parameters[1])
    before = parameters[0].detach().clone()
    Muon(parameters, **options()).step()
    assert torch.equal(parameters[0], before)
