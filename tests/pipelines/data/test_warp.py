import math

import pytest
import torch

from pipelines.data.warp import draw_affine, draw_elastic, warp
from pipelines.recipe.training import Affine, Elastic


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_without_a_map_or_a_displacement_the_images_stay():
    images = torch.rand(3, 9, 8, 2)
    torch.testing.assert_close(warp(images, None, None), images)


def test_a_quarter_turn_turns():
    images = torch.rand(2, 7, 7, 1)
    quarter = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0]]).expand(2, 2, 3)
    torch.testing.assert_close(warp(images, quarter, None), images.rot90(1, (1, 2)), atol=1e-5, rtol=0)


def test_a_displacement_by_one_pixel_shifts():
    images = torch.rand(2, 6, 5, 1)
    displacement = torch.zeros(2, 6, 5, 2)
    displacement[..., 0] = 2 / 5
    torch.testing.assert_close(warp(images, None, displacement)[:, :, :-1], images[:, :, 1:], atol=1e-5, rtol=0)


def test_maps_stay_within_their_limits():
    config = Affine(rotate=20.0, scale=0.25, shear=10.0)
    maps = draw_affine(config, 2000, (28, 28), generator())
    linear = maps[:, :, :2].double()
    assert maps[:, :, 2].abs().max() == 0
    size = linear.det().abs().sqrt()  # a rotation and a shear keep the area
    assert size.min() >= 1 / 1.2501
    assert size.max() <= 1.2501
    angle = torch.atan2(linear[:, 1, 0], linear[:, 0, 0])  # the shear leaves the first axis as it is
    assert math.radians(19.5) < angle.abs().max() <= math.radians(20.001)
    assert abs(angle.mean()) < math.radians(1)


def test_images_have_maps_of_their_own_that_the_seed_repeats():
    config = Affine(rotate=20.0)
    first, again = (draw_affine(config, 5, (28, 28), generator(3)) for _ in range(2))
    assert torch.equal(first, again)
    assert len(first.flatten(1).unique(dim=0)) == 5


def test_a_rotation_keeps_lengths_where_images_are_not_square():
    half = torch.tensor([32 / 2, 9 / 2])  # `F.affine_grid` counts in halves of the width and of the height
    in_pixels = half[:, None] * draw_affine(Affine(rotate=30.0), 50, (9, 32), generator())[:, :, :2] / half
    torch.testing.assert_close(in_pixels @ in_pixels.mT, torch.eye(2).expand(50, 2, 2))


@pytest.mark.parametrize("size", [(28, 28), (8, 8), (9, 32)])
def test_displacements_have_the_size_asked_for_and_are_smooth(size):
    field = draw_elastic(Elastic(displacement=1.5, smoothness=3.0), 200, size, generator())
    assert field.shape == (200, *size, 2)
    pixels = field * torch.tensor([size[1] / 2, size[0] / 2])
    assert pixels.square().mean().sqrt() == pytest.approx(1.5, rel=1e-4)
    assert pixels.diff(dim=1).square().mean().sqrt() < 0.6 * 1.5
