import pytest
import torch

from tests.fake_cuda.launches import CHUNK, launches, unlike

aten = torch.ops.aten


def many(count, *shape, dtype=torch.float32):
    return [torch.zeros(shape, dtype=dtype) for _ in range(count)]


@pytest.mark.parametrize(
    ("operation", "arguments", "expected"),
    [
        (aten.view.default, (torch.ones(4), [2, 2]), 0),
        (aten.permute.default, (torch.ones(2, 3), [1, 0]), 0),
        (aten.empty_like.default, (torch.ones(4),), 0),
        (aten.add_.Tensor, (torch.ones(4), torch.ones(4)), 1),
        (aten.fill_.Scalar, (torch.ones(0, 4), 1), 0),
        (aten.clone.default, (torch.ones(4),), 1),
        (aten.baddbmm.default, (torch.ones(1, 2, 2), torch.ones(1, 2, 2), torch.ones(1, 2, 2)), 2),
        (aten.addmm.default, (torch.ones(2), torch.ones(2, 2), torch.ones(2, 2)), 1),
    ],
)
def test_launches_of_an_operation(operation, arguments, expected):
    assert launches(operation, arguments, {}) == expected


def test_a_product_that_goes_into_what_it_is_added_to_copies_nothing():
    one, other = torch.ones(1, 2, 2), torch.ones(1, 2, 2)
    assert launches(aten.baddbmm.out, (one, other, other), {"out": one}) == 1
    assert launches(aten.baddbmm.out, (one, other, other), {"out": torch.ones(1, 2, 2)}) == 2


@pytest.mark.parametrize(
    ("tensors", "expected"),
    [
        (many(1, 3), 1),
        (many(110, 3), 1),
        (many(111, 3), 2),
        (many(1, 320 * CHUNK), 1),
        (many(1, 320 * CHUNK + 1), 2),
    ],
)
def test_a_list_is_cut_into_launches(tensors, expected):
    assert launches(aten._foreach_mul_.Scalar, (tensors, 2.0), {}) == expected


def test_two_lists_hold_fewer_tensors_a_launch():
    assert launches(aten._foreach_add_.List, (many(64, 3), many(64, 3)), {}) == 1
    assert launches(aten._foreach_add_.List, (many(65, 3), many(65, 3)), {}) == 2
    assert launches(aten._foreach_mul.Scalar, (many(65, 3), 2.0), {}) == 2  # the results are a list too


def test_norms_of_a_list_take_two_kernels():
    assert launches(aten._foreach_norm.Scalar, (many(5, 3),), {}) == 2


def test_lists_that_are_not_alike_are_taken_tensor_by_tensor():
    mixed = [*many(3, 4), *many(2, 4, dtype=torch.float16)]
    assert launches(aten._foreach_mul_.Scalar, (mixed, 2.0), {}) == 5
    plain, turned = many(2, 3, 3, 2, 2), [t.to(memory_format=torch.channels_last) for t in many(2, 3, 3, 2, 2)]
    assert launches(aten._foreach_add_.List, (plain, turned), {}) == 2
    scalars = many(2)
    assert launches(aten._foreach_mul_.List, (plain, scalars), {}) == 2


def test_why_lists_are_not_alike():
    assert "unlike dtypes" in unlike("_foreach_add_", [many(2, 3), many(2, 3, dtype=torch.float16)], {})
    assert unlike("_foreach_copy_", [many(2, 3), many(2, 3, dtype=torch.float16)], {}) is None
    assert "gaps" in unlike("_foreach_mul_", [[torch.zeros(3, 4)[:, :2]], 2.0], {})
    assert unlike("_foreach_mul_", [many(2, 3), 2.0], {}) is None
