import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.whiten import patch_covariance, reference, without_patches
from tests.kernels.versions import DEVICE, FORMATS, error

VERSIONS = [patch_covariance, reference, without_patches]


def noise(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(DEVICE) + 0.5


def patches_of(images, size):
    """All patches of (N, channels, height, width) images, one by one."""
    height, width = images.shape[2:]
    corners = [(i, j) for i in range(height - size + 1) for j in range(width - size + 1)]
    return torch.stack([images[:, :, i : i + size, j : j + size].flatten(1) for i, j in corners]).flatten(0, 1)


@pytest.mark.parametrize("version", VERSIONS)
@given(
    shape=st.tuples(st.integers(1, 7), st.integers(1, 3), st.integers(3, 7), st.integers(3, 7)),
    kernel_size=st.integers(1, 3),
    chunk=st.sampled_from([1, 3, 100]),
    memory_format=st.sampled_from(FORMATS),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=25)
def test_it_is_the_covariance_of_all_patches(version, shape, kernel_size, chunk, memory_format, seed):
    images = noise(*shape, seed=seed).to(memory_format=memory_format)
    patches = patches_of(images.double(), kernel_size)
    centred = patches - patches.mean(0)
    expected = centred.T @ centred / len(patches)
    assert error(version(images, kernel_size, chunk), expected) < 1e-5


@pytest.mark.parametrize("version", VERSIONS)
def test_images_with_gaps_in_memory(version):
    images = noise(5, 4, 9, 12)[:, ::2, 1:, ::2]
    assert error(version(images, 2), reference(images.contiguous(), 2)) < 1e-5


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_not_a_number_is_seen(version):
    images = noise(3, 1, 4, 4)
    images[1, 0, 2, 2] = float("nan")
    assert version(images, 2).isnan().all()


@pytest.mark.parametrize("version", VERSIONS)
def test_second_moments_about_zero(version):
    images = noise(5, 2, 6, 7)
    patches = patches_of(images.double(), 2)
    assert error(version(images, 2, centred=False), patches.T @ patches / len(patches)) < 1e-5
