import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from kernels.activations import FUSED
from kernels.grouping import Grouping
from kernels.pooled_ghost_batch_norm import composed, pooled_and_fused, pooled_ghost_batch_norm, reference
from tests.kernels.ghost_norm import check, draw, group_by_group, run
from tests.kernels.versions import DEVICE, FORMATS, error, with_triton

POOL = nn.MaxPool2d(2)
VERSIONS = [reference, composed, with_triton(pooled_and_fused)]
EXAMPLES = {
    "shape": st.tuples(st.integers(1, 9), st.integers(1, 4), st.integers(4, 7), st.integers(2, 7)),
    "group_size": st.integers(1, 5),
    "memory_format": st.sampled_from(FORMATS),
    "activation": st.sampled_from(list(FUSED)),
    "seed": st.integers(0, 2**32 - 2),
}


@pytest.mark.parametrize("version", [reference, composed])
@given(**EXAMPLES)
@settings(max_examples=20)
def test_plain_versions_are_a_pool_and_a_batch_norm_for_each_group(version, **example):
    check(version, torch.float64, **example, tolerance=1e-6, before=POOL)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float16, 0.01), (torch.bfloat16, 0.05)])
@pytest.mark.parametrize("version", [with_triton(pooled_and_fused)])
@given(**EXAMPLES)
@settings(max_examples=10)
def test_triton_is_a_pool_and_a_batch_norm_for_each_group(version, dtype, tolerance, **example):
    check(version, dtype, **example, tolerance=tolerance, before=POOL)


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("version", [with_triton(pooled_and_fused)])
def test_stretches_of_a_group_are_put_together(version, memory_format, monkeypatch):
    """Many tiles of rows, several of them a program, and many blocks of channels; odd height and width."""
    monkeypatch.setattr("kernels.ghost_batch_norm_launch.TILE", 128)
    monkeypatch.setattr("kernels.ghost_batch_norm_launch.PROGRAMS", 8)
    check(version, torch.float32, (7, 66, 5, 7), 4, memory_format, "celu", seed=0, tolerance=1e-4, before=POOL)


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("version", VERSIONS)
def test_of_equal_pixels_the_first_has_the_gradient(version, memory_format):
    images, scale, bias = draw((6, 2, 5, 4))
    images = images.clamp(-1, 1).round().to(memory_format=memory_format).requires_grad_()
    results, expected = (run(function, (images, scale, bias), 2, "celu")[0] for function in (version, reference))
    seen = torch.randn_like(expected)
    gradient, wanted = (torch.autograd.grad(outputs, images, seen)[0] for outputs in (results, expected))
    assert torch.equal(gradient != 0, wanted != 0)
    assert error(gradient, wanted) < 1e-5


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of NumPy in the interpreter
@pytest.mark.parametrize("special", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("place", [(0, 0), (0, 1), (1, 0), (1, 1)])
@pytest.mark.parametrize("version", [with_triton(pooled_and_fused)])
def test_special_values_go_as_far_as_in_the_definition(version, place, special):
    images, scale, bias = draw((6, 2, 4, 4))
    images[2, 1, place[0], place[1]] = special
    images[3, 1, 2:, 2:] = special
    tensors = [tensor.requires_grad_() for tensor in (images, scale, bias)]
    results, expected = (run(function, tensors, 2, "gelu") for function in (version, reference))
    for one, other in zip(results, expected, strict=True):
        assert torch.equal(one.isfinite(), other.isfinite())
    gradients, wanted = (torch.autograd.grad(outputs[0].sum(), tensors) for outputs in (results, expected))
    for one, other in zip(gradients, wanted, strict=True):
        assert torch.equal(one.isfinite(), other.isfinite())


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("version", VERSIONS)
def test_dtype_and_memory_order_are_kept(version, memory_format):
    images, scale, bias = draw((7, 3, 4, 6), torch.bfloat16)
    images = images.to(memory_format=memory_format).requires_grad_()
    outputs, _, _ = run(version, (images, scale, bias), 2)
    assert outputs.dtype == torch.bfloat16
    assert outputs.is_contiguous(memory_format=memory_format)
    outputs.sum().backward()
    assert images.grad.dtype == torch.bfloat16
    assert images.grad.stride() == images.stride()


@pytest.mark.parametrize("version", VERSIONS)
def test_images_with_gaps_in_memory(version):
    images, scale, bias = draw((5, 3, 8, 12))
    images = images[:, :, ::2, 1::3]
    outputs, _, _ = run(version, (images, scale, bias), 2, "gelu")
    expected, _, _ = group_by_group((POOL(images), scale, bias), 2, "gelu")
    assert error(outputs, expected) < 1e-4


@pytest.mark.parametrize("shape", [(4, 2, 4, 4), (4, 2, 2, 3)])
def test_the_public_name_takes_what_triton_does_not(shape):
    tensors = draw(shape, torch.float64)
    results, expected = (run(version, tensors, 2) for version in (pooled_ghost_batch_norm, reference))
    for one, other in zip(results, expected, strict=True):
        assert error(one, other) < 1e-9
    with pytest.raises(RuntimeError, match="too small"):
        pooled_ghost_batch_norm(
            torch.ones(2, 2, 1, 4, device=DEVICE), *tensors[1:], *tensors[1:], Grouping(2, 0.1, 1e-5)
        )
