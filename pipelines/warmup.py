"""The warm-up: short trainings on noise, so that a trial meets no network, shape or graph for the first time."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from pipelines.clock import Lap
from pipelines.data.dataset import Dataset
from pipelines.host.devices import make_clock
from pipelines.recipe import Recipe
from pipelines.recipe.techniques import WhiteningBias
from pipelines.recipe.training import Resolution
from pipelines.recipe.unlabelled import Pretraining
from pipelines.train import TrainingSetup, run_trial

STEPS = 3


def warm_up(bench: TrainingSetup) -> Lap:
    """Run whole trials on random pixels and random labels: compiles, tunes and allocates, and learns nothing.

    Shapes are those of the real trials, but a few steps, the epoch's smaller last batch if there is one, and one test
    batch of each size are enough. `warm_up_recipes` sees to it that nothing is met for the first time in a real trial.
    """
    generator = np.random.default_rng(0)
    dataset, recipe, world = bench.dataset, bench.recipe, bench.world
    images, batch = len(dataset.train_images), recipe.evaluation.batch_size

    def few(images: np.ndarray) -> int:
        share, more = divmod(len(images), world.size)
        return world.size * min(share, batch + share % batch) + more

    def noise(train: int) -> Dataset:
        counts = {
            "train": train,
            "test": few(dataset.test_images),
            "validation": few(dataset.validation_images),
            "pool": len(dataset.pool_images),
        }
        parts = {}
        for part, count in counts.items():
            shape = (count, *dataset.train_images.shape[1:])
            parts[f"{part}_images"] = generator.integers(256, size=shape, dtype=np.uint8)
            parts[f"{part}_labels"] = generator.integers(len(dataset.class_names), size=count)
        return replace(dataset, **parts)

    clock = make_clock(bench.world.device)
    with clock.lap("compile"):
        rest = 0 if recipe.drop_last else images % recipe.batch_size
        for count in filter(None, (images, rest)):
            for warm_up_recipe in warm_up_recipes(recipe, count):
                run_trial(replace(bench, recipe=warm_up_recipe, dataset=noise(count)), seed=0)
    return clock.laps[0]


def warm_up_recipes(recipe: Recipe, images: int) -> Iterator[Recipe]:
    """The recipe in a few steps over so many images, once for each size of theirs; the whitening layer's bias is frozen
    after the first step, since the network is another graph then, and a pretraining has one step."""
    steps = recipe.steps_per_epoch(images)
    augment, techniques = recipe.augment, recipe.techniques
    brief = {
        name: knobs.model_copy(update={"epochs": 1 / steps if isinstance(knobs, WhiteningBias) else 1e-9})
        for name, knobs in techniques
        if isinstance(knobs, WhiteningBias | Pretraining)
    }
    techniques = techniques.model_copy(update=brief)
    stages = [techniques]
    if techniques.self_training:  # its batches are larger from the first labelling on, here that of the first epoch
        labelling = techniques.self_training.model_copy(update={"start_epoch": -1, "end_epoch": 1, "cycle": 1})
        stages.append(techniques.model_copy(update={"self_training": labelling}))
    epochs = min(STEPS / steps, recipe.epochs)
    for size in augment.resolution.sizes if augment.resolution else (None,):
        alone = Resolution(epochs=(0,), sizes=(size,)) if size else None
        resized = augment.model_copy(update={"resolution": alone})
        for stage in stages:
            yield recipe.model_copy(update={"epochs": epochs, "augment": resized, "techniques": stage})
