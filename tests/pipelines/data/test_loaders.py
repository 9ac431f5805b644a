"""What all loaders have in common: the images, their order, how they are augmented; and what only some must mind."""

import errno
import importlib.util
import itertools
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
import typing
from dataclasses import replace

import numpy as np
import psutil
import pytest
import torch
from scipy.stats import chisquare

from pipelines import recipe
from pipelines.data import augment, torchvision_loader
from pipelines.data.dataset import Dataset
from pipelines.data.loader import LoaderContext
from pipelines.data.loaders import LOADERS, make_loader
from pipelines.data.preprocess import preprocess
from pipelines.distributed.process_group import World, summary_line
from pipelines.recipe.config import configs_in
from tests.bench.conftest import ONE_THREAD, RUN, environment, only_run
from tests.pipelines.processes import wait_for_end

PER_IMAGE = "{name: torchvision, workers: %d, preprocess: %s, choices: %s}"
RESIDENT, BULK = "{name: resident}", "{name: bulk}"
DRAWN_IN_BULK = [BULK, *(PER_IMAGE % (workers, "once", "bulk") for workers in (0, 2))]
DRAWN_ONE_BY_ONE = [PER_IMAGE % (0, "per_sample", "per_sample"), PER_IMAGE % (2, "once", "per_sample")]
AS_WRITTEN = PER_IMAGE % (0, "per_sample", "bulk")
HAS_DALI = bool(importlib.util.find_spec("nvidia") and importlib.util.find_spec("nvidia.dali"))
needs_dali = pytest.mark.skipif(not HAS_DALI, reason="DALI is not installed: pip install -e '.[dali]'")
DALI = pytest.param("{name: dali, threads: 1}", marks=needs_dali)
EVERY = [RESIDENT, *DRAWN_IN_BULK, AS_WRITTEN, *DRAWN_ONE_BY_ONE, DALI]
SIDE, CROP, CUTOUT = 6, 2, 2


def dataset(count=22):
    """Images whose pixels show their row, their column and (unless they are cut out) a one."""
    rows, columns = np.meshgrid(np.arange(1, SIDE + 1), np.arange(1, SIDE + 1), indexing="ij")
    image = np.stack([rows, columns, np.ones_like(rows)], 2).astype(np.uint8)
    images, labels = np.repeat(image[None], count, 0), np.arange(count)
    return Dataset(
        "coordinates", images, labels, images, labels, images[:0], labels[:0], ("a",), (0.0,) * 3, (1.0,) * 3
    )


def loader_for(loader, *overrides, data=None, rank=0, world_size=1, augment_seed=1, dtype=torch.float32):
    wanted = [
        "batch_size=8",
        "drop_last=false",
        f"augment={{crop: {CROP}, flip: random, draw: independent, cutout: {CUTOUT}}}",
    ]
    chosen = recipe.load(
        "cifar10/ladder/20-davidnet-on-device", [*wanted, "loader=null", f"loader={loader}", *overrides]
    )
    made = make_loader(LoaderContext(chosen, data or dataset(), World(rank, world_size), dtype, 0, augment_seed))
    made.transfer()
    made.preprocess()
    return made


def epochs_of(loader, count=2):
    """The batches of so many epochs, as (images, labels), and the loader closed."""
    try:
        return [
            [(images.clone(), labels.clone()) for images, labels in loader.epoch(number)] for number in range(count)
        ]
    finally:
        loader.close()


def together(epoch):
    return torch.cat([images for images, _ in epoch]), torch.cat([labels for _, labels in epoch])


def test_every_loader_of_the_recipe_is_there():
    kinds = configs_in(recipe.Recipe.model_fields["loader"].annotation)
    assert set(LOADERS) == {typing.get_args(kind.model_fields["name"].annotation)[0] for kind in kinds}


@pytest.mark.parametrize("loader", EVERY[1:])
@pytest.mark.parametrize("drop_last", ["true", "false"])
def test_all_loaders_serve_the_same_images_in_the_same_batches(loader, drop_last):
    expected = epochs_of(loader_for(RESIDENT, f"drop_last={drop_last}"))
    other = loader_for(loader, f"drop_last={drop_last}")
    indices = [batch.tolist() for batch in other.epoch(0).indices]
    other.close()
    assert indices == [labels.tolist() for _, labels in expected[0]]  # the label of each image is its place
    for mine, theirs in zip(epochs_of(loader_for(loader, f"drop_last={drop_last}")), expected, strict=True):
        assert [labels.tolist() for _, labels in mine] == [labels.tolist() for _, labels in theirs]
        assert [len(images) for images, _ in mine] == [len(batch) for batch in indices]
        assert {images.shape[1:] for images, _ in mine} == {(3, SIDE, SIDE)}


@pytest.mark.parametrize("loader", [*DRAWN_IN_BULK, DALI])
@pytest.mark.parametrize("flip", ["random", "alternating", "none"])
def test_what_is_drawn_in_bulk_is_the_same_to_the_bit(loader, flip):
    """On a CPU the resident loader draws from the same generators, and neither workers nor moving change a pixel."""
    for mine, theirs in zip(
        *(epochs_of(loader_for(name, f"augment.flip={flip}"), 3) for name in (loader, RESIDENT)), strict=True
    ):
        assert torch.equal(together(mine)[0], together(theirs)[0])


@pytest.mark.parametrize("loader", [AS_WRITTEN, DALI])
@pytest.mark.parametrize("channels", [1, 3])
def test_normalising_later_is_the_same_but_for_rounding(loader, channels):
    pixels = np.random.default_rng(0).integers(256, size=(22, SIDE, SIDE + 1, channels), dtype=np.uint8)
    data = replace(dataset(), train_images=pixels, mean=(125.3, 123.0, 113.9)[:channels], std=(63.0,) * channels)
    mine, theirs = (epochs_of(loader_for(name, data=data)) for name in (loader, RESIDENT))
    torch.testing.assert_close(together(mine[1])[0], together(theirs[1])[0], rtol=1e-6, atol=1e-6)


def every_outcome():
    """What an image can look like, and the choices that lead there."""
    offsets, places = range(2 * CROP + 1), range(SIDE - CUTOUT + 1)
    outcomes = list(itertools.product(offsets, offsets, (0, 1), places, places))
    columns = torch.tensor(outcomes).T
    one = dataset(1)
    padded = preprocess(torch.from_numpy(one.train_images), one, torch.float32, CROP)
    images = torch.empty(len(outcomes), SIDE, SIDE, 3)
    top, left, flip, *places = columns
    choices = augment.Choices(top, left, flip.bool(), None, None, *places, CUTOUT)
    augment.apply(padded, torch.zeros(len(outcomes), dtype=torch.int64), choices, images)
    shown = {
        image.numpy().tobytes(): outcome for image, outcome in zip(images.permute(0, 3, 1, 2), outcomes, strict=True)
    }
    assert len(shown) == len(outcomes)
    return shown


@pytest.mark.parametrize("loader", EVERY)
def test_all_loaders_augment_by_the_same_distribution(loader):
    """Offsets, flips and boxes are uniform, and independent of each other, whoever draws them."""
    shown = every_outcome()
    images, _ = together(epochs_of(loader_for(loader, data=dataset(2000)), 1)[0])
    drawn = np.array([shown[image.contiguous().numpy().tobytes()] for image in images])
    for column, values in zip(drawn.T, (5, 5, 2, 5, 5), strict=True):
        assert chisquare(np.bincount(column, minlength=values)).pvalue > 1e-4
    for first, second in itertools.combinations(range(5), 2):
        assert abs(np.corrcoef(drawn[:, first], drawn[:, second])[0, 1]) < 0.1


@pytest.mark.parametrize("loader", EVERY)
def test_a_loader_depends_on_its_seeds_alone(loader):
    first = epochs_of(loader_for(loader))
    torch.manual_seed(99)
    state = torch.get_rng_state()
    again = epochs_of(loader_for(loader))
    assert torch.equal(torch.get_rng_state(), state)
    other = epochs_of(loader_for(loader, augment_seed=2))
    for one, two, three in zip(first, again, other, strict=True):
        assert torch.equal(together(one)[0], together(two)[0])
        assert torch.equal(together(one)[1], together(three)[1])
        assert not torch.equal(together(one)[0], together(three)[0])
    assert not torch.equal(together(first[0])[0], together(first[1])[0])


@pytest.mark.parametrize("loader", [BULK, *DRAWN_ONE_BY_ONE, DALI])
@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_the_ranks_share_every_batch(loader, world_size):
    alone = epochs_of(loader_for(loader))
    ranks = [
        epochs_of(loader_for(loader, rank=rank, world_size=world_size, augment_seed=rank)) for rank in range(world_size)
    ]
    for number, epoch in enumerate(alone):
        for step, (_, labels) in enumerate(epoch):
            assert torch.equal(torch.cat([rank[number][step][1] for rank in ranks]), labels)


@pytest.mark.parametrize("loader", [RESIDENT, *DRAWN_IN_BULK, DALI])
@pytest.mark.parametrize("draw", ["independent", "even"])
def test_an_image_is_augmented_alike_whatever_the_number_of_processes(loader, draw):
    alone = epochs_of(loader_for(loader, f"augment.draw={draw}"))
    for world_size in (2, 3):
        ranks = [
            epochs_of(loader_for(loader, f"augment.draw={draw}", rank=rank, world_size=world_size))
            for rank in range(world_size)
        ]
        for number, epoch in enumerate(alone):
            for step, (images, _) in enumerate(epoch):
                assert torch.equal(torch.cat([rank[number][step][0] for rank in ranks]), images)


@pytest.mark.parametrize("loader", [BULK, DALI])
@pytest.mark.parametrize("world_size", [2, 3])
def test_each_rank_has_a_stream_of_its_own_where_the_recipe_says_so(loader, world_size):
    for rank in range(world_size):
        place = {"rank": rank, "world_size": world_size, "augment_seed": rank}
        mine, theirs = (
            epochs_of(loader_for(name, "parallel.augmentation=per_rank", **place)) for name in (loader, RESIDENT)
        )
        for one, two in zip(mine, theirs, strict=True):
            assert torch.equal(together(one)[0], together(two)[0])


@pytest.mark.parametrize("loader", [RESIDENT, DALI])
def test_an_epoch_drawn_in_bulk_can_be_gone_through_again(loader):
    """Also when it was left in the middle, as by a training of one and a half epochs."""
    made = loader_for(loader)
    epoch = made.epoch(0)
    going = iter(epoch)
    first = next(going)[0].clone()
    del going
    again, once_more = ([images.clone() for images, _ in epoch] for _ in range(2))
    made.close()
    assert len(again) == len(epoch.indices)
    assert torch.equal(again[0], first)
    assert torch.equal(torch.cat(again), torch.cat(once_more))


@pytest.mark.parametrize("loader", EVERY[1:])
def test_plain_images_are_those_of_the_resident_loader(loader):
    mine, theirs = loader_for(loader), loader_for(RESIDENT)
    for count in (5, None):
        for tensor, expected in zip(mine.plain(count), theirs.plain(count), strict=True):
            assert torch.equal(tensor, expected)
    mine.close()


@pytest.mark.parametrize("loader", [RESIDENT, BULK, *DRAWN_ONE_BY_ONE, DALI])
@pytest.mark.parametrize("channels_last", ["true", "false"])
def test_batches_have_the_network_s_dtype_and_layout(loader, channels_last):
    made = loader_for(loader, f"channels_last={channels_last}", dtype=torch.bfloat16)
    wanted = torch.channels_last if channels_last == "true" else torch.contiguous_format
    for images, labels in epochs_of(made, 1)[0]:
        assert (images.dtype, labels.dtype) == (torch.bfloat16, torch.int64)
        assert images.is_contiguous(memory_format=wanted)


@pytest.mark.parametrize("loader", [*DRAWN_ONE_BY_ONE, DALI])
def test_augmentation_that_is_off_leaves_the_images_alone(loader):
    made = loader_for(loader, "augment={crop: 0, flip: none, cutout: 0}")
    images, _ = together(epochs_of(made, 1)[0])
    assert torch.equal(images, torch.from_numpy(dataset().train_images).permute(0, 3, 1, 2).float())


def test_workers_read_no_memory_of_the_data_set():
    """It may be page-locked, which a forked process may not have; images with one channel fit both layouts."""
    whole = dataset()
    data = replace(whole, train_images=whole.train_images[..., :1].copy(), mean=(0.0,), std=(1.0,))
    loader = loader_for(AS_WRITTEN, "augment={crop: 0}", data=data)
    data.train_images[:] = 200
    (epoch,) = epochs_of(loader, 1)
    assert together(epoch)[0].max() <= SIDE


def test_workers_stay_from_epoch_to_epoch_and_end_with_the_trial():
    def children():
        return {child.pid for child in psutil.Process().children()}

    others = children()  # of other tests
    made = loader_for(DRAWN_ONE_BY_ONE[1])
    seen = []
    for epoch in range(2):
        next(iter(made.epoch(epoch)))
        seen.append(children() - others)
    made.close()
    assert len(seen[0]) >= 2
    assert seen[0] == seen[1]
    deadline = time.monotonic() + 60
    while (left := children() & seen[0]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left == set()


PROGRAM = """
import os, psutil, signal, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job has it ignored
from tests.pipelines.data.test_loaders import DRAWN_ONE_BY_ONE, loader_for
loader = loader_for(DRAWN_ONE_BY_ONE[1])
batches = iter(loader.epoch(0))
next(batches)
print(*(child.pid for child in psutil.Process().children()), flush=True)
time.sleep(60)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("number", "to_group"), [(signal.SIGKILL, False), (signal.SIGINT, True)])
def test_workers_end_with_the_process_that_trains(number, to_group):
    program = subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True, process_group=0)
    workers = [int(pid) for pid in program.stdout.readline().split()]
    assert len(workers) >= 2
    (os.killpg if to_group else os.kill)(program.pid, number)
    program.wait(60)
    wait_for_end(workers)


NO_ROOM = "unable to allocate shared memory(shm) for file </torch_1_2_0>: No space left on device (28)"


@pytest.mark.parametrize(
    "error", [RuntimeError(NO_ROOM), OSError(errno.ENOSPC, "No space left on device")], ids=["torch", "system"]
)
def test_workers_without_shared_memory_are_an_error_with_a_remedy(monkeypatch, error):
    def fail(self, index):
        raise error

    monkeypatch.setattr(torchvision_loader.RandomImages, "__getitem__", fail)
    loader = loader_for(PER_IMAGE % (1, "once", "per_sample"))
    words = rf"no room in /dev/shm: {type(error).__name__}: .*No space left on device.*; use a smaller loader\.workers"
    with pytest.raises(OSError, match=words):
        list(loader.epoch(0))
    loader.close()


@pytest.mark.parametrize("kind", [RuntimeError, OSError])
@pytest.mark.parametrize("words", ["planted", "unable to open shared memory object: Too many open files (24)"])
def test_another_error_of_a_worker_stays_what_it_is(monkeypatch, kind, words):
    def fail(self, index):
        raise kind(words)

    monkeypatch.setattr(torchvision_loader.RandomImages, "__getitem__", fail)
    loader = loader_for(PER_IMAGE % (1, "once", "per_sample"))
    with pytest.raises(kind) as raised:
        list(loader.epoch(0))
    assert summary_line(raised.value) == f"{kind.__name__}: {words}"
    loader.close()


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("unshare"), reason="there is no unshare")
@pytest.mark.parametrize("size", ["8k", "60k"])
def test_a_small_dev_shm_is_one_line_and_status_2(tmp_path, size):
    """8k: no room for the queues of the workers; 60k: none for a batch."""
    mounted = f"mount -t tmpfs -o size={size} tmpfs /dev/shm"
    if subprocess.run(["unshare", "-rm", "bash", "-c", mounted], capture_output=True).returncode:
        pytest.skip("mounts are not allowed")
    words = [RUN, *ONE_THREAD, "--trials", "1", "epochs=1", "batch_size=512", "loader={name: torchvision, workers: 2}"]
    line = f"{mounted} && exec {shlex.join([sys.executable, *map(str, words)])}"
    ended = subprocess.run(
        ["unshare", "-rm", "bash", "-c", line], cwd=tmp_path, env=environment(), capture_output=True, text=True
    )
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1), ended.stderr
    assert "no room in /dev/shm: " in ended.stderr
    run = only_run(tmp_path / "runs")
    assert run.record.status == "failed"
    assert "No space left on device" in run.record.reason


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["augment.flip=alternating"], r"augment\.flip=alternating .* set loader\.choices=bulk"),
        (["loader.workers=-1"], r"loader\.workers=-1"),
        (["loader={name: bulk, workers: 2}"], r"loader\.workers: there is no such option"),
        (["loader={name: dali}", "augment.affine={rotate: 5}"], r"loader\.name=dali has no augment\.affine; set"),
        (["augment.brightness=0.1"], r"loader\.name=torchvision has no augment\.brightness; set"),
        (["loader={name: dali, threads: 0}"], r"loader\.threads=0"),
    ],
)
def test_what_a_loader_cannot_do_is_refused_with_the_remedy(overrides, message):
    with pytest.raises(recipe.RecipeError, match=message):
        recipe.load("cifar10/ladder/00-resnet18", overrides)
