import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.activations import FUSED
from kernels.ghost_batch_norm import fused, ghost_batch_norm, reference, vectorized
from tests.kernels.ghost_norm import check, draw, group_by_group, run
from tests.kernels.versions import FORMATS, error, with_triton

SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 4), st.integers(2, 4), st.integers(1, 4))
VERSIONS = [reference, vectorized, with_triton(fused)]

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
    check(
        version, torch.float64, **example, tolerance=1e-6
    )  # torch rounds CELU's alpha to float32 where its gradient is from its result


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
        monkeypatch.setattr("kernels.ghost_batch_norm_launch.TILE", 256)
    check(version, torch.float32, (7, 66, 3, 4), 4, memory_format, "celu", seed=0, tolerance=1e-4)


@pytest.mark.parametrize("version", [with_triton(fused)])
def test_a_program_sums_up_several_tiles(version, monkeypatch):
    monkeypatch.setattr("kernels.ghost_batch_norm_launch.TILE", 16)
    monkeypatch.setattr("kernels.ghost_batch_norm_launch.PROGRAMS", 8)
    check(version, torch.float32, (7, 4, 3, 5), 4, torch.channels_last, "silu", seed=0, tolerance=1e-4)


@pytest.mark.parametrize("version", [with_triton(fused)])
def test_statistics_are_not_cut_into_views(version):
    """Each of which costs the host as long as a small kernel."""
    images, scale, bias = draw((4, 2, 3, 3))
    with torch.profiler.profile() as trace:
        outputs, _, _ = run(version, (images.requires_grad_(), scale, bias), 2)
        outputs.backward(torch.ones_like(outputs))
    assert {event.name for event in trace.events()}.isdisjoint({"aten::unbind", "aten::select"})


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


@pytest.mark.parametrize("version", [reference, vectorized])
def test_half_precision_compiles(version):
    tensors = draw((4, 2, 3, 3), torch.bfloat16)
    compiled = torch.compile(version, backend="eager", dynamic=False)
    for result, expected in zip(run(compiled, tensors, 2, "celu"), run(version, tensors, 2, "celu"), strict=True):
        assert torch.equal(result, expected)


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
