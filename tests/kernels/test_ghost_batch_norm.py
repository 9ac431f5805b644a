import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from kernels.activations import FUSED
from kernels.ghost_batch_norm import fused, ghost_batch_norm, reference, vectorized
from tests.kernels.versions import DEVICE, FORMATS, error, with_triton

EPS = 1e-2  # large, so that a group of two like pixels does not blow up what is rounded
ALPHA = 0.3
SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 4), st.integers(2, 4), st.integers(1, 4))
VERSIONS = [reference, vectorized, with_triton(fused)]
ACTIVATIONS = {
    None: nn.Identity(),
    "relu": nn.ReLU(),
    "celu": nn.CELU(ALPHA),
    "gelu": nn.GELU(),
    "silu": nn.SiLU(),
}


def draw(shape, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(shape, generator=generator, dtype=torch.float64) * 3 + 1
    scale, bias = (torch.randn(shape[1], generator=generator, dtype=torch.float64) for _ in range(2))
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    return images.to(DEVICE, dtype), scale.to(DEVICE, wide), bias.to(DEVICE, wide)


def run(version, tensors, group_size, activation=None, momentum=1.0):
    """The normalised images, and running statistics that began at 0 and 1."""
    images, scale, bias = tensors
    running = torch.zeros_like(scale.detach()), torch.ones_like(scale.detach())
    outputs = version(images, scale, bias, *running, group_size, momentum, EPS, activation, ALPHA)
    return outputs, *running


def group_by_group(tensors, group_size, activation=None):
    """A BatchNorm2d of its own for every group, in float64; also the means over the groups of their statistics."""
    images, scale, bias = tensors
    layers, outputs = [], []
    for group in images.double().split(group_size):
        layer = nn.BatchNorm2d(images.shape[1], eps=EPS, momentum=1.0, dtype=torch.float64, device=images.device)
        del layer.weight, layer.bias
        layer.weight, layer.bias = scale.double(), bias.double()
        outputs.append(ACTIVATIONS[activation](layer(group)))
        layers.append(layer)
    means, variances = ([getattr(layer, name) for layer in layers] for name in ("running_mean", "running_var"))
    return torch.cat(outputs), torch.stack(means).mean(0), torch.stack(variances).mean(0)


def check(version, dtype, shape, group_size, memory_format, activation, seed, tolerance):
    """Outputs, statistics and gradients against torch's batch norm in float64."""
    images, scale, bias = draw(shape, dtype, seed)
    images = images.to(memory_format=memory_format)
    tensors = [tensor.requires_grad_() for tensor in (images, scale, bias)]
    seen = draw(shape, dtype, seed + 1)[0]
    results, expected = run(version, tensors, group_size, activation), group_by_group(tensors, group_size, activation)
    assert results[0].dtype == dtype
    gradients = torch.autograd.grad(results[0], tensors, seen)
    assert [gradient.dtype for gradient in gradients] == [tensor.dtype for tensor in tensors]
    wanted = torch.autograd.grad(expected[0], tensors, seen.double())
    for one, other in zip((*results, *gradients), (*expected, *wanted), strict=True):
        assert error(one, other) < tolerance


EXAMPLES = {
    "shape": SHAPES,
    "group_size": st.integers(1, 5),
    "memory_format": st.sampled_from(FORMATS),
    "activation": st.sampled_from(list(FUSED)),
    "seed": st.integers(0, 2**32 - 2),
}


@pytest.mark.parametrize("version", [reference, vectorized])
@given(**EXAMPLES)
@settings(max_examples=30)
def test_plain_versions_are_a_batch_norm_for_each_group(version, **example):
    check(version, torch.float64, **example, tolerance=1e-7)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float16, 0.01), (torch.bfloat16, 0.05)])
@pytest.mark.parametrize("version", [with_triton(fused)])
@given(**EXAMPLES)
@settings(max_examples=10)
def test_triton_is_a_batch_norm_for_each_group(version, dtype, tolerance, **example):
    check(version, dtype, **example, tolerance=tolerance)


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("version", VERSIONS)
def test_stretches_of_a_group_are_put_together(version, memory_format, monkeypatch):
    """Many tiles of rows, many blocks of channels, and a last group that reaches into few of them."""
    if version is fused:
        monkeypatch.setattr("kernels.ghost_batch_norm_triton.TILE", 64)
    check(version, torch.float32, (7, 70, 3, 5), 4, memory_format, "celu", seed=0, tolerance=1e-4)


@pytest.mark.parametrize("version", [with_triton(fused)])
def test_a_program_sums_up_several_tiles(version, monkeypatch):
    monkeypatch.setattr("kernels.ghost_batch_norm_triton.TILE", 16)
    monkeypatch.setattr("kernels.ghost_batch_norm_triton.PROGRAMS", 8)
    check(version, torch.float32, (7, 4, 3, 5), 4, torch.channels_last, "silu", seed=0, tolerance=1e-4)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_mean_far_from_zero_costs_no_precision(version):
    images, scale, bias = draw((6, 3, 5, 5))
    tensors = (images + 1000, scale, bias)
    for result, expected in zip(run(version, tensors, 3), group_by_group(tensors, 3), strict=True):
        assert error(result, expected) < 1e-3


@pytest.mark.parametrize("version", [reference, vectorized])
def test_gradients_are_those_of_finite_differences(version):
    tensors = [tensor.requires_grad_() for tensor in draw((5, 2, 2, 3), torch.float64)]
    torch.autograd.gradcheck(lambda *tensors: run(version, tensors, 2, "celu")[0], tensors)


@pytest.mark.parametrize("version", VERSIONS)
def test_running_statistics_move_by_the_momentum(version):
    tensors = draw((6, 2, 3, 3))
    _, mean, variance = run(version, tensors, 2)
    _, moved_mean, moved_variance = run(version, tensors, 2, momentum=0.25)
    torch.testing.assert_close(moved_mean, 0.25 * mean)
    torch.testing.assert_close(moved_variance, 0.75 + 0.25 * variance)


@pytest.mark.parametrize("version", VERSIONS)
def test_one_image_does_not_reach_another_group(version):
    images, scale, bias = draw((6, 2, 3, 3))
    before, _, _ = run(version, (images, scale, bias), 2)
    images[2] += 100
    after, _, _ = run(version, (images, scale, bias), 2)
    changed = (before != after).flatten(1).any(1)
    assert changed.tolist() == [False, False, True, True, False, False]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of NumPy in the interpreter
@pytest.mark.parametrize("special", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("activation", FUSED)
@pytest.mark.parametrize("version", [vectorized, with_triton(fused)])
def test_special_values_go_as_far_as_in_the_definition(version, activation, special):
    images, scale, bias = draw((6, 2, 3, 3))
    images[2, 1, 0, 2] = special
    tensors = [tensor.requires_grad_() for tensor in (images, scale, bias)]
    results, expected = (run(function, tensors, 2, activation) for function in (version, reference))
    for one, other in zip(results, expected, strict=True):
        assert torch.equal(one.isfinite(), other.isfinite())
    gradients, wanted = (torch.autograd.grad(outputs[0].sum(), tensors) for outputs in (results, expected))
    for one, other in zip(gradients, wanted, strict=True):
        assert torch.equal(one.isfinite(), other.isfinite())


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("version", VERSIONS)
def test_dtype_and_memory_order_are_kept(version, dtype, memory_format):
    images, scale, bias = draw((7, 3, 4, 5), dtype)
    images = images.to(memory_format=memory_format).requires_grad_()
    normalised, _, _ = run(version, (images, scale, bias), 2)
    assert normalised.stride() == images.stride()
    assert normalised.dtype == dtype
    normalised.sum().backward()
    assert images.grad.dtype == dtype


@pytest.mark.parametrize("version", VERSIONS)
def test_images_with_gaps_in_memory(version):
    images, scale, bias = draw((5, 3, 6, 7))
    images = images[:, :, ::2, 1::3]
    outputs, _, _ = run(version, (images, scale, bias), 2, "gelu")
    expected, _, _ = group_by_group((images, scale, bias), 2, "gelu")
    assert error(outputs, expected) < 1e-4


@pytest.mark.parametrize("version", [ghost_batch_norm, *VERSIONS])
def test_statistics_carry_no_gradient_and_the_images_are_not_modified(version):
    images, scale, bias = draw((4, 2, 3, 3))
    copy = images.clone()
    outputs, mean, variance = run(version, (images, scale.requires_grad_(), bias), 2, "celu")
    assert outputs.requires_grad
    assert not mean.requires_grad
    assert not variance.requires_grad
    assert torch.equal(images, copy)
