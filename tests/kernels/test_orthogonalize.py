import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.orthogonalize import QUINTIC, orthogonalize


def plain(matrix, steps, coefficients):
    """One matrix, by the letter, in float64."""
    a, b, c = coefficients
    x = matrix.double() / matrix.double().norm()
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + b * gram @ x + c * gram @ gram @ x
    return x


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 4), st.integers(1, 12), st.integers(1, 12), st.integers(1, 4))
def test_a_batch_is_what_each_matrix_is_alone(count, rows, columns, steps):
    matrices = torch.randn(count, rows, columns, generator=torch.Generator().manual_seed(0))
    batch = orthogonalize(matrices, steps)
    assert batch.dtype == torch.bfloat16
    for matrix, result in zip(matrices, batch, strict=True):
        assert torch.equal(orthogonalize(matrix[None], steps)[0], result)
        assert torch.allclose(result.double(), plain(matrix, steps, QUINTIC), atol=0.12)


@pytest.mark.parametrize("shape", [(8, 40), (40, 8), (16, 16)])
def test_singular_values_move_towards_one(shape):
    matrix = torch.randn(*shape, generator=torch.Generator().manual_seed(1))
    before = torch.linalg.svdvals(matrix / matrix.norm())
    after = torch.linalg.svdvals(orthogonalize(matrix, steps=5).float())
    assert after.min() > 0.4
    assert after.max() < 1.3
    assert (after - 1).abs().max() < (before - 1).abs().max()


def test_the_scale_of_the_matrix_does_not_matter():
    matrix = torch.randn(6, 9)
    assert torch.equal(orthogonalize(matrix), orthogonalize(matrix * 1024))
