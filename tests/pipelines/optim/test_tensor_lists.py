import torch

from pipelines.optim.tensor_lists import by_dtype, cast, copy

MIXED = [torch.float16, torch.float32, torch.float16, torch.bfloat16]


def draw(dtypes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(size + 1, generator=generator).to(dtype) for size, dtype in enumerate(dtypes)]


def test_each_part_has_one_dtype_a_list():
    first, second = draw(MIXED), draw([torch.float32] * 4)
    parts = list(by_dtype(first, second))
    assert [[[len(tensor) for tensor in tensors] for tensors in part] for part in parts] == [
        [[1, 3], [1, 3]],
        [[2], [2]],
        [[4], [4]],
    ]
    assert all(len({tensor.dtype for tensor in tensors}) == 1 for part in parts for tensors in part)


def test_copy_casts_to_the_target():
    targets, sources = draw(MIXED), draw([torch.float32] * 4, seed=1)
    copy(targets, sources)
    for target, source, dtype in zip(targets, sources, MIXED, strict=True):
        assert torch.equal(target, source.to(dtype))


def test_cast_leaves_what_has_the_dtype_already():
    tensors = draw(MIXED)
    results = cast(tensors, torch.float32)
    assert all(torch.equal(result, tensor.float()) for result, tensor in zip(results, tensors, strict=True))
    assert results[1] is tensors[1]
    assert cast([], torch.float32) == []
