"""What only the DALI loader must mind; tests/pipelines/data/test_loaders.py holds it to what all have in common."""

import gc
import sys
import time

import psutil
import pytest
import torch

from pipelines import recipe
from pipelines.distributed.process_group import World
from pipelines.train import set_up
from tests.pipelines.data.test_loaders import dataset, loader_for, needs_dali

DALI = "{name: dali, threads: 1}"


@needs_dali
def test_batches_that_are_kept_do_not_change():
    made = loader_for(DALI)
    kept = [(images, images.clone()) for number in range(2) for images, _ in made.epoch(number)]
    made.close()
    assert all(torch.equal(images, copy) for images, copy in kept)


@needs_dali
def test_threads_end_with_the_trial():
    before = psutil.Process().num_threads()
    made = loader_for(DALI)
    next(iter(made.epoch(0)))
    assert psutil.Process().num_threads() > before
    made.close()
    gc.collect()
    deadline = time.monotonic() + 60
    while psutil.Process().num_threads() > before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert psutil.Process().num_threads() <= before


def test_a_package_that_is_missing_is_named_with_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "nvidia.dali", None)
    chosen = recipe.load("cifar10/loaders/dali")
    with pytest.raises(ValueError, match=r"nvidia\S* is missing: pip install -e '\.\[dali\]'"):
        set_up(chosen, dataset(), World())
