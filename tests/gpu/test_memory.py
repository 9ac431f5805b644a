"""Memory and kernels, against what is said without a GPU."""

import json
from collections import Counter

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from pipelines import recipe as recipes
from pipelines.distributed.process_group import World
from pipelines.estimate import estimate
from pipelines.train import run_trial, set_up
from tests.fake_cuda.bounds import TABLE
from tests.fake_cuda.simulate import noise, shortened
from tests.gpu.trials import CUDA, dataset_for

pytestmark = pytest.mark.gpu

RECIPES = ("cifar10/davidnet-10", "cifar10/airbench94-muon", "mnist/base")
WORKSPACES = 2**28
"""bytes that cuDNN may use besides, which are not estimated"""
CUDNN = 32
"""kernels by which cuDNN may prepare the convolutions of a small network, which are not counted"""


@pytest.mark.parametrize("name", RECIPES)
def test_peak_memory_is_within_a_factor_of_the_estimate(name):
    recipe = recipes.load(name, ["epochs=1", "compile=false"])
    dataset = dataset_for(recipe)
    trial = run_trial(set_up(recipe, dataset, World(0, 1, CUDA)), 0)
    expected = estimate(recipe, dataset, CUDA).memory_bytes
    assert 0.5 * expected < trial.peak_device_bytes < 3 * expected + WORKSPACES


class Profiled:
    """An observer that counts the device's kernels and copies in each step, by their names."""

    def __init__(self) -> None:
        self.steps: list[Counter[str]] = []
        self._profile = None

    def batch_ready(self, state) -> None:
        self._profile = profile(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU])
        self._profile.__enter__()

    def step_end(self, state) -> None:
        torch.cuda.synchronize()
        self._profile.__exit__(None, None, None)
        on_device = (e for e in self._profile.events() if e.device_type == torch.autograd.DeviceType.CUDA)
        self.steps.append(Counter(event.name for event in on_device if not event.is_user_annotation))


@pytest.mark.parametrize("name", RECIPES)
def test_kernels_of_a_step_are_about_those_counted_without_a_gpu(name):
    recipe = shortened(name, "auto")
    setup = set_up(recipe, noise(recipe), World(0, 1, CUDA))
    run_trial(setup, 0)
    observer = Profiled()
    run_trial(setup, 0, [observer])
    counted = json.loads(TABLE.read_text())["recipes"][name]["auto"]["typical"]
    launched = sorted(observer.steps, key=Counter.total)[len(observer.steps) // 2]
    assert 0.65 * counted <= launched.total() <= 1.35 * counted + CUDNN, launched
