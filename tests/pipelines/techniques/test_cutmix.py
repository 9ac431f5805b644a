import pytest
import torch

from pipelines.techniques.cutmix import cutmix, rectangles
from pipelines.techniques.mixup import soft_labels
from tests.pipelines.techniques.test_mixup import random_batch, trial_of


def test_rectangles_against_a_plain_loop():
    top, left = torch.tensor([-1, 0, 2, 5]), torch.tensor([3, -2, 4, 1])
    mask = rectangles(top, left, 3, 4, (6, 7))
    for i in range(4):
        for row in range(6):
            for column in range(7):
                inside = top[i] <= row < top[i] + 3 and left[i] <= column < left[i] + 4
                assert mask[i, row, column].item() == bool(inside)


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_pixels_and_labels_against_a_plain_loop(layout, dtype):
    images, labels = random_batch(layout, dtype)
    before = images.clone()
    mask = rectangles(torch.arange(6), torch.arange(6) - 2, 4, 4, (8, 8))
    pasted, mixed = cutmix(images, soft_labels(labels, 4), mask)
    for i in range(6):
        inside = mask[i].expand(3, 8, 8)
        assert torch.equal(pasted[i][inside], images[i - 1][inside])
        assert torch.equal(pasted[i][~inside], images[i][~inside])
        expected, share = torch.zeros(4), mask[i].sum() / 64
        expected[labels[i]] += 1 - share
        expected[labels[i - 1]] += share
        torch.testing.assert_close(mixed[i], expected)
    assert pasted.is_contiguous(memory_format=layout)
    assert torch.equal(images, before)


def pasted_from_the_one_before(plain, mixed):
    """For each batch, where the images differ; asserts that there they show the one before them."""
    for (_, images, _), (_, pasted, _) in zip(plain, mixed, strict=True):
        differs = pasted != images
        assert torch.equal(pasted[differs], images.roll(1, 0)[differs])
        yield differs.any(1)


def test_a_fixed_square_lies_wholly_inside_and_each_image_has_its_own_place(digits):
    _, plain = trial_of(digits)
    _, mixed = trial_of(digits, "techniques.cutmix={size: 3}")
    for differs, (_, _, labels) in zip(pasted_from_the_one_before(plain, mixed), mixed, strict=True):
        rows, columns = differs.any(2), differs.any(1)
        assert (rows.sum(1) <= 3).all()
        assert (columns.sum(1) <= 3).all()
        assert rows.any(0).all()
        assert columns.any(0).all()
        torch.testing.assert_close(labels.amax(1).amin(), torch.tensor(1 - 9 / 64))


def test_drawn_areas_change_from_batch_to_batch_and_labels_follow_them(digits):
    _, plain = trial_of(digits)
    _, mixed = trial_of(digits, "techniques.cutmix={}")
    areas = [differs.float().mean().item() for differs in pasted_from_the_one_before(plain, mixed)]
    assert len({round(area, 3) for area in areas}) > len(areas) // 2
    for differs, (_, _, labels), (_, _, hard) in zip(
        pasted_from_the_one_before(plain, mixed), mixed, plain, strict=True
    ):
        other = 1 - labels.gather(1, hard[:, None])[:, 0]
        alike = hard == hard.roll(1)
        assert (other[~alike] + 1e-6 >= differs[~alike].float().mean((1, 2))).all()
        torch.testing.assert_close(labels.sum(1), torch.ones(len(labels)))


def test_a_square_larger_than_the_image_takes_all_of_it(digits):
    _, plain = trial_of(digits)
    _, mixed = trial_of(digits, "techniques.cutmix={size: 50}")
    for (_, images, _), (_, pasted, _) in zip(plain, mixed, strict=True):
        assert torch.equal(pasted, images.roll(1, 0))
