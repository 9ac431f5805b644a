"""Runs trials of recipes on a fake CUDA device and writes what they did: python -m tests.fake_cuda.simulate --help

A trial has two epochs of three steps and their evaluations, so that what happens every five steps happens too.
"""

import argparse
import contextlib
import gc
import json
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from tests.fake_cuda import device

if __name__ == "__main__":
    device.pretend(device.build())

import numpy as np
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor

from kernels.triton_import import triton
from pipelines import recipe as recipes
from pipelines import train
from pipelines.clock import Clock
from pipelines.data import sources
from pipelines.data.dataset import Dataset
from pipelines.distributed.process_group import World
from pipelines.events import State
from pipelines.models.dropout import Dropout
from pipelines.models.layers import BatchNorm
from pipelines.recipe import Recipe
from pipelines.recipe.loaders import Resident
from pipelines.recipe.techniques.pretraining import Pretraining
from tests.fake_cuda.recorder import CUDA, Recorder

STEPS_PER_EPOCH = 3
EPOCHS = 2
NEVER_ENDING = {"throughput/vit-b-16"}
"""Recipes that cannot be simulated: torchvision draws this one's weights anew until all are in range, and fake tensors
have no values."""


class Watch:
    """An observer of a trial."""

    def __init__(self, recorder: Recorder, recipe: Recipe) -> None:
        self._recorder, self._recipe = recorder, recipe
        self.wrong_dtypes: list[str] = []

    def trial_start(self, state: State) -> None:
        for path, module in state.network.named_modules():
            for name, tensor in [*module.named_parameters(path, False), *module.named_buffers(path, False)]:
                wanted = documented_dtype(module, tensor, self._recipe)
                if tensor.is_floating_point() and tensor.dtype != wanted:
                    self.wrong_dtypes.append(f"{name} is {tensor.dtype} and should be {wanted}")

    def step_end(self, state: State) -> None:
        self._recorder.end_step()


def documented_dtype(module: nn.Module, tensor: torch.Tensor, recipe: Recipe) -> torch.dtype:
    """What the recipe's `precision` promises of a parameter or buffer on CUDA."""
    is_single = isinstance(module, Dropout) or (isinstance(module, BatchNorm) and not module.is_half)
    if recipe.precision != "half" or is_single:
        return torch.float32
    return torch.bfloat16 if recipe.half_dtype == "bfloat16" else torch.float16


def shortened(name: str, kernels: str) -> Recipe:
    """The recipe in two short epochs, without what has no fake tensors: torch.compile and DALI."""
    recipe = recipes.load(name)
    brief = {
        key: options.model_copy(update={"epochs": 1e-9})
        for key, options in recipe.techniques
        if isinstance(options, Pretraining)
    }
    changes: dict[str, Any] = {
        "compile": False,
        "kernels": kernels,
        "epochs": min(float(EPOCHS), recipe.epochs),
        "techniques": recipe.techniques.model_copy(update=brief),
    }
    if recipe.loader.name == "torchvision":
        changes |= {"batch_size": 8, "loader": recipe.loader.model_copy(update={"workers": 0})}
    elif recipe.loader.name == "dali":
        changes["loader"] = Resident(name="resident")
    return recipe.model_copy(update=changes)


def noise(recipe: Recipe) -> Dataset:
    """Random images for three steps an epoch, the last of them smaller where the recipe keeps what is left over."""
    generator = np.random.default_rng(0)
    batch = recipe.batch_size
    counts = {
        "train": STEPS_PER_EPOCH * batch - (0 if recipe.drop_last else batch // 2),
        "test": 0 if recipe.target is None else recipe.evaluation.batch_size + 7,
        "pool": 4 * batch if recipe.data.fraction < 1 else 0,
        "validation": recipe.evaluation.batch_size + 7 if recipe.data.holds_out else 0,
    }
    whole = sources.blank_of(recipe.data)
    if whole.is_tokens:
        return whole.noise(counts)
    shape = whole.train_images.shape[1:]
    parts = {}
    for part, count in counts.items():
        parts[f"{part}_images"] = generator.integers(256, size=(count, *shape), dtype=np.uint8)
        parts[f"{part}_labels"] = generator.integers(10, size=count)
    statistics = {"mean": (120.0,) * shape[2], "std": (60.0,) * shape[2]}
    return Dataset("noise", **parts, **statistics, class_names=tuple("0123456789"))


@contextlib.contextmanager
def watched(recorder: Recorder) -> Iterator[None]:
    """Everything that happens inside is fake and recorded, lap by lap."""
    real_lap, from_numpy = Clock.lap, torch.from_numpy

    @contextlib.contextmanager
    def lap(clock: Clock, name: str, epoch: int | None = None) -> Iterator[None]:
        with real_lap(clock, name, epoch):
            outer, recorder.lap = recorder.lap, name
            recorder.laps[name] += 1
            yield
            recorder.lap = outer

    def run(program: Any, *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> None:
        recorder.triton(program, grid, args, kwargs)

    with contextlib.ExitStack() as stack:
        replaced = [
            (Clock, "lap", lap),
            (torch.cuda, "synchronize", recorder.synchronize),
            (torch.Tensor, "pin_memory", lambda tensor, *device: recorder.pin(tensor)),
            # the data set is pinned as a whole in set-up, which makes NumPy arrays of fake tensors
            (train, "pinned", lambda dataset: dataset),
            (torch, "from_numpy", lambda array: recorder.pin(from_numpy(array))),
            (FakeTensor, "tolist", lambda tensor: recorder.values(tensor)),
        ]
        if triton is not None:
            replaced.append((triton.JITFunction, "run", run))
        for owner, name, replacement in replaced:
            stack.enter_context(mock.patch.object(owner, name, replacement))
        stack.enter_context(recorder.fake)
        stack.enter_context(recorder)
        yield


def simulate(name: str, kernels: str, *observers: Any) -> dict[str, Any]:
    """What a short trial of a recipe does. observers: hook into it before it is watched."""
    recipe = shortened(name, kernels)
    recorder = Recorder()
    recorder.channels_last = recipe.channels_last
    watch = Watch(recorder, recipe)
    error = None
    try:
        with watched(recorder):
            recorder.lap = "set_up"
            setup = train.set_up(recipe, noise(recipe), World(0, 1, CUDA))
            recorder.lap = None
            train.run_trial(setup, 0, [*observers, watch])
    except Exception:  # noqa: BLE001 (it is reported, and the other recipes follow)
        error = traceback.format_exc()
    return {
        "recipe": name,
        "kernels": kernels,
        "error": error,
        "launches": [sum(step.values()) for step in recorder.steps],
        "operations": [dict(step.most_common()) for step in recorder.steps],
        "laps": dict(recorder.laps),
        "wrong_dtypes": watch.wrong_dtypes,
        "findings": [{**finding._asdict(), "times": times} for finding, times in recorder.findings.items()],
        "signatures": sorted((signature._asdict() for signature in recorder.signatures), key=str),
    }


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kernels", choices=("auto", "reference", "fast"))
    parser.add_argument("out", type=Path, help="a JSON file")
    parser.add_argument("recipes", nargs="*", help="all that ship where none is named")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    gc.freeze()  # every trial collects garbage, and the libraries are none
    reports = [simulate(name, chosen.kernels) for name in chosen.recipes or recipes.names()]
    gc.unfreeze()  # Triton's bindings report what is not freed at the end
    chosen.out.write_text(json.dumps(reports), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
