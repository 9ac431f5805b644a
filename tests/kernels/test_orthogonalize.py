import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.orthogonalize import POLAR_EXPRESS, QUINTIC, orthogonalize
from tests.fake_cuda.launches import Counted
from tests.kernels.versions import DEVICE


def plain(matrix, polynomials):
    """One matrix, by the letter, in float64."""
    x = matrix.double() / matrix.double().norm()
    for a, b, c in polynomials:
        gram = x @ x.T
        x = a * x + b * gram @ x + c * gram @ gram @ x
    return x


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(DEVICE)


SHAPES = st.tuples(st.integers(1, 12), st.integers(1, 12))


@settings(deadline=None, max_examples=25)
@given(
    st.lists(SHAPES, min_size=1, max_size=5),
    st.sampled_from([[QUINTIC], 4 * [QUINTIC], [QUINTIC, (1.875, -1.25, 0.375)]]),
    st.sampled_from([torch.float32, torch.float16]),
)
def test_each_matrix_of_a_list_is_what_it_is_alone(shapes, polynomials, dtype):
    matrices = [draw(*shape, seed=seed).to(dtype) for seed, shape in enumerate(shapes + shapes[::-1])]
    results = orthogonalize(matrices, polynomials)
    for matrix, result in zip(matrices, results, strict=True):
        assert result.dtype == torch.bfloat16
        torch.testing.assert_close(result, orthogonalize([matrix], polynomials)[0], rtol=2**-7, atol=2**-7)
        assert torch.allclose(result.double(), plain(matrix, polynomials), atol=0.12)


def test_the_matrices_themselves_are_left_alone():
    matrix = draw(4, 6)
    before = matrix.clone()
    orthogonalize([matrix])
    assert torch.equal(matrix, before)


def test_in_float32_it_is_as_near_as_float32_is():
    matrix = draw(8, 12)
    (result,) = orthogonalize([matrix], 4 * [QUINTIC], torch.float32)
    assert result.dtype == torch.float32
    assert torch.allclose(result.double(), plain(matrix, 4 * [QUINTIC]), atol=1e-4)


def test_an_iteration_is_three_matrix_products():
    with torch.profiler.profile() as trace:
        orthogonalize([draw(8, 12), draw(8, 12)], 2 * [QUINTIC])
    products = [event.name for event in trace.events() if event.name in ("aten::bmm", "aten::baddbmm", "aten::mm")]
    assert len(products) == 6


def test_an_iteration_copies_the_matrices_of_all_shapes_at_once():
    matrices = [draw(8, 12), draw(8, 16), draw(8, 16), draw(12, 8)]
    counts = []
    for iterations in (1, 2):
        with Counted() as counted:
            orthogonalize(matrices, iterations * [QUINTIC])
        counts.append(counted.launches)
    assert counts[1] - counts[0] == 3 * 3 + 1  # products of each shape, and the copy


@pytest.mark.parametrize("shape", [(8, 40), (40, 8), (16, 16)])
def test_singular_values_move_towards_one(shape):
    matrix = draw(*shape, seed=1)
    before = torch.linalg.svdvals(matrix / matrix.norm())
    after = torch.linalg.svdvals(orthogonalize([matrix], 5 * [QUINTIC])[0].float())
    assert after.min() > 0.4
    assert after.max() < 1.3
    assert (after - 1).abs().max() < (before - 1).abs().max()


def test_the_order_of_the_columns_does_not_matter():
    matrix, order = draw(6, 9), torch.randperm(9, generator=torch.Generator().manual_seed(0))
    one, other = orthogonalize([matrix]), orthogonalize([matrix[:, order]])
    torch.testing.assert_close(one[0][:, order], other[0], rtol=2**-6, atol=2**-6)


def test_the_scale_of_the_matrix_does_not_matter():
    matrix = draw(6, 9)
    assert torch.equal(orthogonalize([matrix])[0], orthogonalize([matrix * 1024])[0])


def test_a_matrix_of_zeros_stays_one():
    assert not orthogonalize([torch.zeros(3, 4, device=DEVICE)])[0].any()


def test_polar_express_converges_from_a_thousandth():
    values = torch.logspace(-3, 0, 1000, dtype=torch.float64)
    for a, b, c in POLAR_EXPRESS:
        values = a * values + b * values**3 + c * values**5
    assert (values - 1).abs().max() < 1e-6


def test_polar_express_is_nearer_to_one_than_the_quintic():
    def error(polynomials):
        values = torch.logspace(-3, 0, 1000, dtype=torch.float64)
        for a, b, c in polynomials:
            values = a * values + b * values**3 + c * values**5
        return (values - 1).abs().max()

    assert error(POLAR_EXPRESS[:5]) < error(5 * [QUINTIC])


@pytest.mark.parametrize("shape", [(8, 40), (40, 8)])
def test_polar_express_makes_all_singular_values_one(shape):
    values = torch.linalg.svdvals(orthogonalize([draw(*shape, seed=1)], POLAR_EXPRESS)[0].float())
    assert (values - 1).abs().max() < 0.05
