import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipelines import recipe
from pipelines.data import preprocess as preprocessing
from pipelines.data.dataset import Dataset
from pipelines.data.loader import LoaderContext
from pipelines.data.preprocess import pinned, preprocess, to_device
from pipelines.data.resident import ResidentLoader
from pipelines.distributed.process_group import World
from pipelines.recipe.training import Affine, Augment, Elastic, Resolution

CROP_AND_FLIP = Augment(crop=1, flip="random")
EVERY_AUGMENTATION = Augment(
    crop=1,
    flip="random",
    cutout=2,
    affine=Affine(rotate=10, scale=0.1, shear=5),
    elastic=Elastic(smoothness=0.5),
    brightness=0.2,
    contrast=0.2,
)
BASE = recipe.load("digits/quick").model_dump(mode="json")


def byte_images(count=11, height=6, width=7, channels=3):
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (count, height, width, channels), dtype=np.uint8)
    return images, generator.integers(0, 5, count)


def described(images, labels, mean=(120.0, 130.0, 140.0), std=(60.0, 50.0, 40.0)):
    names = tuple("abcde")
    return Dataset("bytes", images, labels, images, labels, images[:0], labels[:0], names, mean, std)


def numbered(count, channels=2):
    """Images that show their number, which is their label too, and where each of their pixels lies."""
    pixels = np.arange(16).reshape(1, 4, 4, 1)
    images = (pixels + 16 * (np.arange(count) % 15)[:, None, None, None]).astype(np.uint8).repeat(channels, 3)
    labels = np.arange(count)
    return Dataset(
        "numbered", images, labels, images, labels, images[:0], labels[:0], ("a",), (0.0,) * channels, (1.0,) * channels
    )


def make_loader(
    config=None,
    count=22,
    *,
    channels=2,
    dtype=torch.float32,
    order_seed=0,
    augment_seed=0,
    rank=0,
    world_size=1,
    **changes,
):
    """A loader of numbered images."""
    augment = (config or Augment()).model_dump(mode="json")
    chosen = recipe.validate(BASE | {"batch_size": 8, "drop_last": False, "augment": augment} | changes, "test")
    context = LoaderContext(chosen, numbered(count, channels), World(rank, world_size), dtype, order_seed, augment_seed)
    loader = ResidentLoader(context)
    loader.transfer()
    loader.preprocess()
    return loader


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("pad", [0, 1, 5])
def test_preprocess_normalises_and_reflects(monkeypatch, dtype, pad):
    monkeypatch.setattr(preprocessing, "CHUNK", 4)
    images, labels = byte_images()
    dataset = described(images, labels)
    result = preprocess(torch.from_numpy(images), dataset, dtype, pad)
    normalised = (images - np.array(dataset.mean)) / np.array(dataset.std)
    expected = np.pad(normalised, ((0, 0), (pad, pad), (pad, pad), (0, 0)), mode="reflect")
    assert result.dtype == dtype
    torch.testing.assert_close(result.double(), torch.from_numpy(expected), rtol=torch.finfo(dtype).eps, atol=1e-6)


def test_to_device_keeps_bytes_and_labels():
    images, labels = byte_images()
    on_device, labels_on_device = to_device(images, labels, torch.device("cpu"))
    assert on_device.dtype == torch.uint8
    assert np.array_equal(on_device, images)
    assert np.array_equal(labels_on_device, labels)


def test_a_pinned_data_set_is_the_same_in_memory_that_torch_gave(monkeypatch):
    given = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: given.append(tensor.clone()) or given[-1])
    images, labels = byte_images()
    dataset = described(images, labels)
    copy = pinned(dataset)
    assert np.array_equal(copy.train_images, images)
    assert np.array_equal(copy.test_labels, labels)
    assert copy.train_images.ctypes.data in {tensor.data_ptr() for tensor in given}
    assert (copy.name, copy.mean, len(copy.pool_images)) == (dataset.name, dataset.mean, 0)


@pytest.mark.parametrize(("drop_last", "sizes"), [(True, [8, 8]), (False, [8, 8, 6])])
def test_an_epoch_is_a_permutation_in_batches(drop_last, sizes):
    loader = make_loader(drop_last=drop_last)
    orders = []
    for number in range(3):
        epoch = loader.epoch(number)
        batches = [labels for _, labels in epoch]
        assert [len(batch) for batch in batches] == sizes
        assert len(epoch) == len(sizes)
        assert [len(images) for images, _ in epoch] == sizes
        orders.append(torch.cat(batches).tolist())
        assert len(set(orders[-1])) == sum(sizes)
        assert set(orders[-1]) <= set(range(22))
    assert orders[0] != orders[1] != orders[2]


def test_what_is_dropped_changes_from_epoch_to_epoch():
    loader = make_loader(drop_last=True)
    dropped = {frozenset(range(22)) - frozenset(loader.epoch(epoch).labels.tolist()) for epoch in range(5)}
    assert len(dropped) > 1


def test_images_come_with_their_labels():
    for images, labels in make_loader(CROP_AND_FLIP).epoch(0):
        assert torch.equal((images / 16).floor().flatten(1).amax(1).long(), labels % 15)


@given(st.integers(4, 60), st.sampled_from([4, 8, 12]), st.sampled_from([2, 4]), st.booleans(), st.integers(0, 99))
@settings(deadline=None, max_examples=40)
def test_the_ranks_share_every_global_batch(count, batch_size, world_size, drop_last, seed):
    assume(count >= batch_size or not drop_last)
    common = {"count": count, "batch_size": batch_size, "drop_last": drop_last, "order_seed": seed}
    alone = make_loader(EVERY_AUGMENTATION, **common)
    ranks = [make_loader(EVERY_AUGMENTATION, rank=rank, world_size=world_size, **common) for rank in range(world_size)]
    for epoch in range(2):
        parts = [list(loader.epoch(epoch)) for loader in ranks]
        for step, (images, labels) in enumerate(alone.epoch(epoch)):
            assert torch.equal(torch.cat([part[step][1] for part in parts]), labels)
            torch.testing.assert_close(torch.cat([part[step][0] for part in parts]), images)


def test_alternating_flip_goes_on_across_ranks():
    """Every image is seen both ways in two epochs, whichever rank gets it."""
    seen = {}
    config = Augment(flip="alternating")
    per_rank = {"augmentation": "per_rank"}
    ranks = [make_loader(config, rank=rank, world_size=2, augment_seed=rank, parallel=per_rank) for rank in range(2)]
    for epoch in range(2):
        for loader in ranks:
            for images, labels in loader.epoch(epoch):
                for image, label in zip(images, labels.tolist(), strict=True):
                    seen.setdefault(label, []).append(bool(image[0, 0, 0] > image[0, 0, 3]))
    assert len(seen) == 22
    assert all(sorted(sides) == [False, True] for sides in seen.values())


def test_augmentation_has_a_stream_of_its_own():
    first, again, other = (make_loader(CROP_AND_FLIP, augment_seed=seed).epoch(0) for seed in (0, 0, 1))
    assert torch.equal(first.labels, other.labels)
    assert torch.equal(first.images, again.images)
    assert not torch.equal(first.images, other.images)


def test_augmentation_does_not_move_the_order():
    plain, augmented = make_loader(), make_loader(Augment(crop=1, flip="alternating", cutout=2))
    for epoch in range(3):
        assert torch.equal(plain.epoch(epoch).labels, augmented.epoch(epoch).labels)


@pytest.mark.parametrize("channels_last", [True, False])
def test_batches_are_views_of_the_epoch(channels_last):
    epoch = make_loader(channels_last=channels_last).epoch(0)
    start = 0
    for images, labels in epoch:
        assert images.data_ptr() == epoch.images[start].data_ptr()
        assert labels.data_ptr() == epoch.labels[start].data_ptr()
        order = torch.channels_last if channels_last else torch.contiguous_format
        assert images.is_contiguous(memory_format=order)
        start += len(images)


@pytest.mark.parametrize("channels_last", [True, False])
def test_the_memory_order_does_not_change_the_images(channels_last):
    epoch = make_loader(CROP_AND_FLIP, channels_last=channels_last).epoch(0)
    assert epoch.images.shape == (22, 2, 4, 4)
    assert torch.equal(epoch.images, make_loader(CROP_AND_FLIP).epoch(0).images)


def test_the_source_survives_many_epochs():
    loader = make_loader(Augment(crop=1, flip="random", cutout=2))
    before = loader.plain()[0].clone()
    for epoch in range(4):
        loader.epoch(epoch)
    assert torch.equal(loader.plain()[0], before)


def bilinear(image, side):
    """One channel, a pixel at a time: between the four pixels around the place, centres at half pixels."""
    last = len(image) - 1
    result = np.empty((side, side))
    for row, column in np.ndindex(side, side):
        y, x = ((place + 0.5) * len(image) / side - 0.5 for place in (row, column))
        top, left = int(y), int(x)
        below, right = min(top + 1, last), min(left + 1, last)
        above = (1 - x + left) * image[top, left] + (x - left) * image[top, right]
        under = (1 - x + left) * image[below, left] + (x - left) * image[below, right]
        result[row, column] = (1 - y + top) * above + (y - top) * under
    return result


def test_resolution_resizes_the_epoch_and_changes_nothing_else():
    full = Augment(crop=1, flip="random", cutout=2, brightness=0.1)
    small = full.model_copy(update={"resolution": Resolution(epochs=(0, 1, 3), sizes=(2, 3, 4))})
    plain, resized = make_loader(full), make_loader(small)
    for number, side in enumerate((2, 3, 3, 4, 4)):
        expected, epoch = plain.epoch(number), resized.epoch(number)
        assert torch.equal(epoch.labels, expected.labels)
        assert epoch.images.shape == (22, 2, side, side)
        for image, wanted in zip(epoch.images.flatten(0, 1), expected.images.flatten(0, 1), strict=True):
            expected_image = torch.from_numpy(bilinear(wanted.double().numpy(), side))
            torch.testing.assert_close(image.double(), expected_image, rtol=1e-6, atol=1e-6)
        if side == 4:
            assert torch.equal(epoch.images, expected.images)


def test_a_crop_is_the_middle_of_the_image_at_its_own_scale_then_resized_where_the_size_is_another():
    full = Augment(crop=1, brightness=0.1)
    resolution = Resolution(epochs=(0, 1, 2), sizes=(2, 2, 4), crops=(2, 3, 4))
    plain, cropped = make_loader(full), make_loader(full.model_copy(update={"resolution": resolution}))
    middles = (slice(1, 3), slice(0, 3), slice(0, 4))
    for number, (side, middle) in enumerate(zip(resolution.sizes, middles, strict=True)):
        expected, epoch = plain.epoch(number).images[:, :, middle, middle], cropped.epoch(number).images
        assert epoch.shape == (22, 2, side, side)
        for image, wanted in zip(epoch.flatten(0, 1), expected.flatten(0, 1), strict=True):
            expected_image = torch.from_numpy(bilinear(wanted.double().numpy(), side))
            torch.testing.assert_close(image.double(), expected_image, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_resized_images_keep_dtype_and_memory_order(channels_last, dtype):
    small = Augment(crop=1, resolution=Resolution(epochs=(0,), sizes=(3,)))
    images, _ = next(iter(make_loader(small, dtype=dtype, channels_last=channels_last).epoch(0)))
    assert images.dtype == dtype
    assert images.is_contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)


def test_images_of_one_channel_have_the_strides_of_the_layout_that_is_asked_for():
    """Both layouts are the same memory, and torch takes the strides of channels last for that layout."""
    images, _ = next(iter(make_loader(channels=1, channels_last=False).epoch(0)))
    height, width = images.shape[2:]
    assert images.stride() == (height * width, height * width, width, 1)
