"""The whitening layers against the sources: from the patches themselves, one by one."""

import pytest
import torch
import torch.nn.functional as F

from pipelines import recipe
from pipelines.models.layers import PatchWhitening

SIDE, COUNT = 12, 40


def patches_of(images, size, padding=0):
    """All patches of (N, channels, height, width) images as rows, float64."""
    return F.unfold(images, size, padding=padding).transpose(1, 2).flatten(0, 1).double()


@pytest.mark.parametrize(
    ("name", "eps", "is_centred"),
    [
        ("cifar10/airbench94", 5e-4, False),
        ("cifar10/airbench94-muon", 5e-4, False),
        ("cifar10/davidnet-10", 1e-2, False),
        ("cifar10/hiverge", 5e-4, False),
        ("cifar10/e1", 5e-4, False),
        ("cifar10/hlb", 1e-2, True),
    ],
)
def test_filters(name, eps, is_centred):
    """Rows are eigenvectors of the second moments over the roots of their eigenvalues plus eps; signs are arbitrary."""
    config = recipe.load(name).model.whitening
    layer = PatchWhitening(3, config)
    images = torch.randn(COUNT, SIDE, SIDE, 3, generator=torch.Generator().manual_seed(0)) + 0.5
    layer.fit(images)
    patches = patches_of(images.permute(0, 3, 1, 2), config.kernel_size)
    patches = patches - patches.mean(0) if is_centred else patches
    moments = patches.T @ patches / len(patches)
    ours = layer.weight.detach().flatten(1).double()
    if config.both_signs:
        assert torch.equal(*(part * sign for part, sign in zip(ours.chunk(2), (1, -1), strict=True)))
        ours = ours.chunk(2)[0]
    expected = torch.linalg.inv(moments + eps * torch.eye(len(moments)))
    torch.testing.assert_close(ours.T @ ours, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "is_zero"), [("airbench94", True), ("airbench96-faster", True), ("airbench94-muon", False), ("e1", False)]
)
def test_where_the_bias_starts(name, is_zero):
    layer = PatchWhitening(3, recipe.load(f"cifar10/{name}").model.whitening)
    layer.reset_parameters()
    limit = (3 * 2 * 2) ** -0.5
    assert (layer.bias.abs().max() == 0) == is_zero
    assert layer.bias.abs().max() <= limit
