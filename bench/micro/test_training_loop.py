"""What the harness costs: a trial's own loop beside a bare one, on the same network, optimizer and batches."""

import itertools
import statistics
import time

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.micro.measuring import DEVICE, synchronize
from bench.micro.noise import noise
from pipelines.data.loader import LoaderContext
from pipelines.data.loaders import make_loader
from pipelines.distributed.process_group import World
from pipelines.events import Hooks, State
from pipelines.losses import make_loss
from pipelines.optim.optimizers import make_optimizer
from pipelines.recipe import load
from pipelines.techniques import make_techniques
from pipelines.train import set_up, train_epoch

STEPS = 3
ROUNDS = 8
RECIPES = {"cifar10/davidnet-10": (3, 32), "cifar10/airbench94-muon": (3, 32), "mnist/base": (1, 28)}


@pytest.mark.parametrize("name", RECIPES)
def test_harness_against_bare_loop(benchmark: BenchmarkFixture, name: str) -> None:
    """Interleaved; `harness_over_bare` is the median of the ratios of neighbours, `data_share` what augmentation and
    order add to an epoch."""
    recipe = load(name)
    dataset = noise(STEPS * recipe.batch_size * (1 if recipe.batch_size > 256 else 50), *RECIPES[name])
    world = World(device=DEVICE)
    bench = set_up(recipe, dataset, world)
    loader = make_loader(LoaderContext(recipe, dataset, world, bench.dtype, order_seed=0, augment_seed=1))
    loader.transfer()
    loader.preprocess()
    batches_per_epoch = recipe.steps_per_epoch(len(dataset.train_images))
    steps = 2 * ROUNDS * batches_per_epoch
    optimizer = make_optimizer(
        bench.network, recipe, local_batch_size=recipe.batch_size, steps=steps, steps_per_epoch=batches_per_epoch
    )
    loss_function = make_loss(recipe.loss)
    state = State(
        recipe,
        bench.network,
        bench.strategy.forward,
        optimizer,
        seed=0,
        steps=steps,
        steps_per_epoch=batches_per_epoch,
        loss_function=loss_function,
    )
    techniques = make_techniques(recipe)
    hooks = Hooks(techniques)
    for hook in hooks.trial_start:
        hook(state)
    started = time.perf_counter()
    batches = loader.epoch(0)
    synchronize()
    data_seconds = time.perf_counter() - started

    def harness() -> None:
        train_epoch(batches, bench.strategy.backward, state, hooks)

    def bare() -> None:
        for images, labels in batches:
            optimizer.backward(loss_function(bench.strategy.forward(images), labels))
            optimizer.step(0)

    seconds: dict[str, list[float]] = {"harness": [], "bare": []}

    def both() -> None:
        for function in (harness, bare):
            started = time.perf_counter()
            function()
            synchronize()
            seconds[function.__name__].append(time.perf_counter() - started)

    benchmark.pedantic(both, rounds=ROUNDS - 1, warmup_rounds=1)
    measured = list(zip(seconds["harness"], seconds["bare"], strict=True))[1:]
    benchmark.extra_info["harness_over_bare"] = round(statistics.median(a / b for a, b in measured), 4)
    benchmark.extra_info["spread"] = [round(a / b, 4) for a, b in measured]
    bare_seconds = statistics.median(itertools.islice(seconds["bare"], 1, None))
    benchmark.extra_info["data_share"] = round(data_seconds / (data_seconds + bare_seconds), 4)
