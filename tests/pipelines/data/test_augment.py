import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.data import augment
from pipelines.recipe.training import Augment

HEIGHT, WIDTH = 6, 7


def numbered(count, crop, channels=2):
    """Images whose values tell image, row, column and channel apart, plain and padded by reflection."""
    plain = np.arange(1, 1 + count * HEIGHT * WIDTH * channels, dtype=np.float32).reshape(count, HEIGHT, WIDTH, -1)
    around = (0, 0), (crop, crop), (crop, crop), (0, 0)
    return plain, torch.from_numpy(np.pad(plain, around, mode="reflect"))


def draw(config, count, seed=0, epoch=0):
    generator = torch.Generator().manual_seed(seed)
    flip_first = torch.randint(2, (count,), generator=generator).bool()
    return augment.draw(config, count, (HEIGHT, WIDTH), generator, flip_first, epoch)


def apply(padded, order, choices, config):
    out = torch.full((len(order), HEIGHT, WIDTH, padded.shape[3]), -1.0)
    augment.apply(padded, order, choices, out)
    return out


def one_by_one(plain, order, choices, config):
    """The same, slowly: an image, a pixel at a time."""
    images = []
    for i, index in enumerate(order.tolist()):
        padded = np.pad(plain[index], ((config.crop,) * 2, (config.crop,) * 2, (0, 0)), mode="reflect")
        top, left = int(choices.top[i]), int(choices.left[i])
        image = padded[top : top + HEIGHT, left : left + WIDTH].copy()
        if choices.flip is not None and choices.flip[i]:
            image = image[:, ::-1].copy()
        if config.brightness:
            image = image + choices.shift[i].numpy()
        if config.contrast:
            image = image * choices.scale[i].numpy()
        if config.cutout:
            top, left = int(choices.cutout_top[i]), int(choices.cutout_left[i])
            for row in range(top, top + config.cutout):
                for column in range(left, left + config.cutout):
                    image[row, column] = 0
        images.append(image)
    return torch.from_numpy(np.stack(images))


KNOBS = st.builds(
    Augment,
    crop=st.integers(0, 4),
    flip=st.sampled_from(["none", "random", "alternating"]),
    cutout=st.integers(0, HEIGHT),
    brightness=st.sampled_from([0.0, 0.1399]),
    contrast=st.sampled_from([0.0, 0.1308]),
)


@given(KNOBS, st.integers(1, 13), st.sampled_from([1, 4, 100]), st.integers(0, 2**32 - 1), st.integers(0, 3))
@settings(deadline=None, max_examples=60)
def test_every_image_is_that_of_a_slow_reference(config, count, chunk, seed, epoch):
    plain, padded = numbered(9, config.crop)
    order = torch.randint(9, (count,), generator=torch.Generator().manual_seed(seed))
    choices = draw(config, count, seed, epoch)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kernels.augment.CHUNK", chunk)
        result = apply(padded, order, choices, config)
    assert torch.equal(result, one_by_one(plain, order, choices, config))


FULL = Augment(crop=2, flip="random", cutout=3, brightness=0.2, contrast=0.4)


def test_an_image_depends_on_its_own_source_alone():
    _, padded = numbered(6, FULL.crop)
    order = torch.tensor([4, 0, 2, 2, 5])
    choices = draw(FULL, len(order))
    before = apply(padded, order, choices, FULL)
    padded[2] += 1000
    changed = (apply(padded, order, choices, FULL) != before).flatten(1).any(1)
    assert changed.tolist() == [False, False, True, True, False]


def test_the_source_is_not_modified():
    _, padded = numbered(6, FULL.crop)
    copy = padded.clone()
    apply(padded, torch.arange(6), draw(FULL, 6), FULL)
    assert torch.equal(padded, copy)


def test_the_same_seed_gives_the_same_and_another_one_another():
    first, again, other = (draw(FULL, 50, seed) for seed in (1, 1, 2))
    for name in ("top", "left", "flip", "cutout_top", "cutout_left", "shift", "scale"):
        assert torch.equal(getattr(first, name), getattr(again, name))
        assert not torch.equal(getattr(first, name), getattr(other, name))


def test_what_is_off_is_not_drawn():
    choices = draw(Augment(), 10)
    assert (choices.flip, choices.cutout_top, choices.cutout_left) == (None, None, None)
    assert (choices.shift, choices.scale) == (None, None)
    assert not choices.top.any()
    assert not choices.left.any()


def uniform(values, possible):
    """Whether the values take all of range(possible), each as often as chance allows (chi-square within 5 sigma)."""
    counts = torch.bincount(values.long(), minlength=possible).double()
    expected = len(values) / possible
    degrees = possible - 1
    return len(counts) == possible and ((counts - expected) ** 2 / expected).sum() < degrees + 5 * (2 * degrees) ** 0.5


def test_every_choice_covers_its_whole_range_uniformly():
    choices = draw(FULL, 20_000)
    assert uniform(choices.top, 2 * FULL.crop + 1)
    assert uniform(choices.left, 2 * FULL.crop + 1)
    assert uniform(choices.flip, 2)
    assert uniform(choices.cutout_top, HEIGHT - FULL.cutout + 1)
    assert uniform(choices.cutout_left, WIDTH - FULL.cutout + 1)


def test_choices_are_drawn_independently():
    choices = draw(FULL, 20_000)
    drawn = [choices.top, choices.left, choices.flip, choices.cutout_top, choices.cutout_left]
    drawn += [choices.shift, choices.scale]
    correlations = torch.corrcoef(torch.stack([values.double() for values in drawn])) - torch.eye(7)
    assert correlations.abs().max() < 5 / 20_000**0.5


def test_cutout_lies_wholly_inside():
    config = Augment(cutout=4)
    _, padded = numbered(300, 0)
    result = apply(padded, torch.arange(300), draw(config, 300), config)
    assert ((result == 0).all(3).flatten(1).sum(1) == 16).all()
    assert ((result == 0).any(3) == (result == 0).all(3)).all()


def test_alternating_flip_shows_both_sides_in_any_two_epochs():
    config = Augment(flip="alternating")
    first, second, third = (draw(config, 200, epoch=epoch).flip for epoch in range(3))
    assert (first ^ second).all()
    assert torch.equal(first, third)
    assert 0.3 < first.double().mean() < 0.7


def test_random_flip_does_not_follow_the_epoch():
    config = Augment(flip="random")
    first, second = (draw(config, 200, seed=epoch, epoch=epoch).flip for epoch in range(2))
    assert 0.3 < (first ^ second).double().mean() < 0.7


def test_jitter_is_uniform_around_no_change():
    choices = draw(FULL, 20_000)
    for values, centre, radius in ((choices.shift, 0, FULL.brightness), (choices.scale, 1, FULL.contrast)):
        assert uniform(((values - centre) / radius + 1) * 10, 20)


def test_jitter_changes_no_other_choice():
    """It is drawn last, so that a recipe with it has the crops and flips of the one without."""
    with_jitter = draw(FULL, 100)
    without = draw(FULL.model_copy(update={"brightness": 0.0, "contrast": 0.0}), 100)
    for name in ("top", "left", "flip", "cutout_top", "cutout_left"):
        assert torch.equal(getattr(with_jitter, name), getattr(without, name))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_jitter_rounds_half_precision_once(dtype):
    config = Augment(brightness=0.1399, contrast=0.1308)
    images, choices = torch.randn(50, HEIGHT, WIDTH, 3).to(dtype), draw(config, 50)
    result = torch.empty_like(images)
    augment.apply(images, torch.arange(50), choices, result)
    exact = (images.float() + choices.shift[:, None, None, None]) * choices.scale[:, None, None, None]
    assert torch.equal(result, exact.to(dtype))


def shares(values, options):
    return torch.bincount(values, minlength=options)


@pytest.mark.parametrize("count", [500, 1003])
def test_an_even_draw_gives_each_place_an_equal_share_and_flips_half(count):
    choices = draw(Augment(crop=2, flip="random", draw="even", cutout=3), count)
    crops = shares(5 * choices.top + choices.left, 25)
    assert crops.max() - crops.min() <= 1
    assert abs(2 * int(choices.flip.sum()) - count) <= 1
    cutouts = shares((WIDTH - 2) * choices.cutout_top + choices.cutout_left, (HEIGHT - 2) * (WIDTH - 2))
    assert cutouts.max() - cutouts.min() <= 1


def test_an_even_draw_is_another_one_each_time_and_its_choices_are_independent():
    config = Augment(crop=2, flip="random", draw="even")
    first, second = draw(config, 2500, seed=0), draw(config, 2500, seed=1)
    assert not torch.equal(first.top, second.top)
    flipped = shares((5 * first.top + first.left)[first.flip], 25)
    assert flipped.float().std() > 1, "a crop's images would all be flipped, or half of them"


def test_an_even_draw_uses_at_most_200_places_of_a_cutout():
    config = Augment(cutout=8, draw="even")
    choices = augment.draw(config, 5000, (32, 32), torch.Generator().manual_seed(0), torch.zeros(5000).bool(), 0)
    used = shares(25 * choices.cutout_top + choices.cutout_left, 625)
    assert (used > 0).sum() == augment.EVEN_OPTIONS
    assert set(used[used > 0].tolist()) == {5000 // augment.EVEN_OPTIONS}
