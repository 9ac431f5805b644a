"""Data sets that train in a second, and torch.compile without its compiler."""

import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines.data.dataset import Dataset
from pipelines.data.sources import digits as digits_source
from tests.pipelines.scripts.modules import forget_modules_of


@pytest.fixture
def modules_as_before(monkeypatch, tmp_path):
    """Files that a test writes and imports are forgotten at its end, and so are their folders in `sys.path`."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    forget_modules_of(tmp_path)


@pytest.fixture
def fresh_compiler():
    """torch.compile as in a new process: the graphs of other tests count towards its limit for a function."""
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@pytest.fixture(scope="session")
def digits() -> Dataset:
    """The real digits of scikit-learn: 1,437 training and 360 test images of 8 x 8."""
    return digits_source.read(Path())


@pytest.fixture(scope="session")
def coloured() -> Dataset:
    """80 training and 30 test images of 3 x 32 x 32, noise with the mean of one of three classes: easily learnt."""
    generator = np.random.default_rng(0)

    def draw(count: int) -> tuple[np.ndarray, np.ndarray]:
        labels = np.arange(count) % 3
        noise = generator.integers(0, 120, (count, 32, 32, 3))
        colours = 100 * np.eye(3, dtype=np.int64)[labels]
        return (noise + colours[:, None, None]).astype(np.uint8), labels

    train_images, train_labels = draw(80)
    test_images, test_labels = draw(30)
    return Dataset(
        name="coloured",
        train_images=train_images,
        train_labels=train_labels,
        test_images=test_images,
        test_labels=test_labels,
        pool_images=train_images[:0],
        pool_labels=train_labels[:0],
        class_names=("red", "green", "blue"),
        mean=tuple(train_images.mean((0, 1, 2)).tolist()),
        std=tuple(train_images.std((0, 1, 2)).tolist()),
    )


@pytest.fixture
def without_inductor(fresh_compiler, monkeypatch):
    """torch.compile makes the same graphs, and does not spend minutes on compiling their kernels."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
