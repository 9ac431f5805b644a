"""Fast kernels against their definitions at the sizes of the recipes, in every dtype and layout."""

import pytest
import torch

from kernels.activations import FUSED
from kernels.orthogonalize import orthogonalize
from kernels.triton_import import triton
from tests.gpu import kernel_checks
from tests.gpu.kernel_checks import LAYOUTS, TOLERANCE
from tests.gpu.trials import CPU, CUDA, relative_difference

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(triton is None, reason="Triton is not installed")]

dtypes = pytest.mark.parametrize("dtype", TOLERANCE)


@dtypes
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("activation", FUSED)
@pytest.mark.parametrize("is_pooled", [False, True])
@pytest.mark.parametrize(("shape", "size"), [((512, 64, 32, 32), 32), ((500, 512, 4, 4), 32), ((96, 24, 9, 7), 96)])
def test_ghost_norm(shape, size, activation, layout, dtype, is_pooled):
    error = kernel_checks.norm(shape, size, activation, dtype, layout, CUDA, is_pooled=is_pooled)
    assert error < TOLERANCE[dtype]


@dtypes
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize(("rows", "classes"), [(512, 10), (2000, 10), (777, 100)])
def test_loss(rows, classes, smoothing, dtype):
    assert kernel_checks.loss(rows, classes, smoothing, dtype, CUDA) < TOLERANCE[dtype]


@dtypes
@pytest.mark.parametrize(("count", "crop", "side"), [(2000, 2, 32), (5001, 4, 32), (5001, 2, 24), (300, 2, 40)])
def test_augmentation(count, crop, side, dtype):
    last_bit = 2**-8 if side == 32 else 2**-7
    assert kernel_checks.gather(count, crop, dtype, CUDA, side) <= last_bit


@pytest.mark.parametrize(("count", "kernel_size"), [(5000, 2), (10_000, 3)])
def test_patch_covariance(count, kernel_size):
    assert kernel_checks.covariance(count, kernel_size, CUDA) < 1e-4


def test_orthogonalize():
    matrices = [kernel_checks.draw(shape, CPU) for shape in ((64, 216), (64, 576), (256, 576), (256, 2304))]
    for one, other in zip(orthogonalize([m.to(CUDA) for m in matrices]), orthogonalize(matrices), strict=True):
        assert relative_difference(one.cpu(), other) < 0.02


def test_kernels_are_launched(monkeypatch):
    """And not their definitions."""
    from kernels import choice, ghost_batch_norm

    choice.use("auto")
    images, scale = torch.ones(64, 8, 4, 4, device=CUDA), torch.ones(8, device=CUDA)
    monkeypatch.setattr(ghost_batch_norm, "fused", lambda *arguments: "Triton")
    grouping = kernel_checks.Grouping(32, 0.1, 1e-5)
    assert ghost_batch_norm.ghost_batch_norm(images, scale, scale, scale, scale, grouping) == "Triton"
