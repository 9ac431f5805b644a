import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from kernels.ghost_batch_norm import ghost_batch_norm

EPS = 1e-5
SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 4), st.integers(2, 4), st.integers(1, 4))


def draw(shape, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(shape, generator=generator, dtype=torch.float64) * 3 + 1
    scale, bias = (torch.randn(shape[1], generator=generator, dtype=torch.float64) for _ in range(2))
    return images.to(dtype), scale.to(dtype), bias.to(dtype)


def group_by_group(images, scale, bias, group_size):
    """A BatchNorm2d of its own for every group; also the layers."""
    layers = []
    outputs = []
    for group in images.split(group_size):
        layer = nn.BatchNorm2d(images.shape[1], eps=EPS, momentum=1.0, dtype=scale.dtype)
        del layer.weight, layer.bias
        layer.weight, layer.bias = scale, bias
        outputs.append(layer(group))
        layers.append(layer)
    return torch.cat(outputs), layers


@given(SHAPES, st.integers(1, 5), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=60)
def test_forward_and_backward_are_those_of_a_batch_norm_for_each_group(shape, group_size, seed):
    tensors = [tensor.requires_grad_() for tensor in draw(shape, torch.float64, seed)]
    seen = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    normalised, _, _ = ghost_batch_norm(*tensors, group_size, EPS)
    expected, _ = group_by_group(*tensors, group_size)
    torch.testing.assert_close(normalised, expected, rtol=1e-10, atol=1e-10)
    gradients = torch.autograd.grad(normalised, tensors, seen)
    torch.testing.assert_close(gradients, torch.autograd.grad(expected, tensors, seen), rtol=1e-8, atol=1e-8)


def test_gradients_are_those_of_finite_differences():
    images, scale, bias = (tensor.requires_grad_() for tensor in draw((5, 2, 2, 3), torch.float64))
    torch.autograd.gradcheck(lambda *tensors: ghost_batch_norm(*tensors, 2, EPS)[0], (images, scale, bias))


@given(SHAPES, st.integers(1, 5), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=30)
def test_statistics_are_each_group_s_own(shape, group_size, seed):
    images, scale, bias = draw(shape, seed=seed)
    _, means, inverse_stds = ghost_batch_norm(images, scale, bias, group_size, EPS)
    groups = [group.double().transpose(0, 1).flatten(1) for group in images.split(group_size)]
    assert means.shape == inverse_stds.shape == (len(groups), shape[1])
    torch.testing.assert_close(means.double(), torch.stack([group.mean(1) for group in groups]), rtol=1e-4, atol=1e-4)
    expected = torch.stack([(group.var(1, unbiased=False) + EPS).rsqrt() for group in groups])
    torch.testing.assert_close(inverse_stds.double(), expected, rtol=1e-3, atol=1e-4)


def test_one_image_does_not_reach_another_group():
    images, scale, bias = draw((6, 2, 3, 3))
    before, _, _ = ghost_batch_norm(images, scale, bias, 2, EPS)
    images[2] += 100
    after, _, _ = ghost_batch_norm(images, scale, bias, 2, EPS)
    changed = (before != after).flatten(1).any(1)
    assert changed.tolist() == [False, False, True, True, False, False]


def test_bfloat16_images_with_float32_parameters():
    images, scale, bias = draw((7, 3, 4, 4))
    half = images.bfloat16().requires_grad_()
    scale.requires_grad_()
    normalised, means, inverse_stds = ghost_batch_norm(half, scale, bias, 3, EPS)
    expected, layers = group_by_group(half.detach().float(), scale.detach(), bias, 3)
    assert normalised.dtype == torch.bfloat16
    assert means.dtype == inverse_stds.dtype == torch.float32
    torch.testing.assert_close(normalised.float(), expected, rtol=2**-8, atol=1e-2)
    torch.testing.assert_close(means, torch.stack([layer.running_mean for layer in layers]), rtol=1e-5, atol=1e-5)
    normalised.sum().backward()
    assert (half.grad.dtype, scale.grad.dtype) == (torch.bfloat16, torch.float32)


@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_memory_order_is_kept(memory_format, dtype):
    images, scale, bias = draw((7, 3, 4, 5))
    images = images.to(dtype).to(memory_format=memory_format)
    normalised, _, _ = ghost_batch_norm(images, scale, bias, 2, EPS)
    assert normalised.stride() == images.stride()


def test_statistics_carry_no_gradient_and_the_images_are_not_modified():
    images, scale, bias = draw((4, 2, 3, 3))
    copy = images.clone()
    _, means, inverse_stds = ghost_batch_norm(images.requires_grad_(), scale, bias, 2, EPS)
    assert not means.requires_grad
    assert not inverse_stds.requires_grad
    assert torch.equal(images, copy)
