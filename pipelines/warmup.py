"""The warm-up: short trainings on noise that compile, tune and allocate all that the trials need."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from pipelines.clock import Lap
from pipelines.data.dataset import Dataset
from pipelines.host.devices import make_clock
from pipelines.recipe import Recipe
from pipelines.train import TrainingSetup, run_trial

STEPS = 3
"""steps of each training of the warm-up, at least"""


def warm_up(setup: TrainingSetup) -> Lap:
    """Run short trials on random pixels and random labels. They compile, tune and allocate, and learn nothing.

    All shapes of the real trials occur: those of a batch, of an epoch's smaller last batch if there is one, and of each
    batch of test images.
    """
    dataset, recipe, world = setup.dataset, setup.recipe, setup.world
    images, batch = len(dataset.train_images), recipe.evaluation.batch_size

    def few(images: np.ndarray) -> int:
        if recipe.evaluation.tta != "none" and recipe.evaluation.tta_share < 1:
            return len(images)  # on which it depends how many are uncertain, and so the sizes of their batches
        share, more = divmod(len(images), world.data.size)
        return world.data.size * min(share, batch + share % batch) + more

    def noise(train: int) -> Dataset:
        counts = {
            "train": train,
            "test": few(dataset.test_images),
            "validation": few(dataset.validation_images),
            "pool": len(dataset.pool_images),
        }
        return dataset.noise(counts)

    clock = make_clock(setup.world.device)
    steps = warm_up_steps(recipe, images)
    with clock.lap("compile"):
        rest = 0 if recipe.drop_last else images % recipe.batch_size
        for count in filter(None, (images, rest)):
            for warm_up_recipe in warm_up_recipes(recipe, count, steps):
                run_trial(replace(setup, recipe=warm_up_recipe, dataset=noise(count)), seed=0)
    return clock.laps[0]


def warm_up_steps(recipe: Recipe, images: int) -> int:
    """Steps of each training of the warm-up, no more than the recipe has over so many images.

    They are enough for everything that a technique, and the exchange of gradients, do in the course of a training.
    """
    parts = (recipe.parallel, *recipe.techniques.chosen().values())
    return min(recipe.steps(images), max(STEPS, *(part.warm_up_steps for part in parts)))


def warm_up_recipes(recipe: Recipe, images: int, steps: int) -> Iterator[Recipe]:
    """The recipe in so many steps over so many images, once for each size that `augment.resolution` gives them.

    Under CUDA graphs it comes twice: torch records a graph only when a shape comes for the second time, and the
    warm-up evaluates once.
    """
    steps_per_epoch = recipe.steps_per_epoch(images)
    chosen, weights = recipe.techniques.chosen(), recipe.data.class_weights
    shortened = {name: technique.shortened(steps_per_epoch) for name, technique in chosen.items()}
    equal_weights = weights and (1.0,) * len(weights)  # those of all random labels of a small batch may be 0
    changes = {
        "epochs": steps / steps_per_epoch,
        "techniques": recipe.techniques.model_copy(update=shortened),
        "data": recipe.data.model_copy(update={"class_weights": equal_weights}),
    }
    stages = [changes]
    if "self_training" in chosen:  # its batches are larger from the first labelling on, here that of the first epoch
        labelling = chosen["self_training"].model_copy(update={"start_epoch": -1, "end_epoch": 1, "cycle": 1})
        techniques = changes["techniques"].model_copy(update={"self_training": labelling})
        stages.append(changes | {"techniques": techniques})
    if recipe.compile_mode != "default":
        stages *= 2
    augment, resolution = recipe.augment, recipe.augment.resolution
    for alone in [resolution.of_epoch(epoch) for epoch in resolution.epochs] if resolution else [None]:
        for stage in stages:
            yield recipe.model_copy(update=stage | {"augment": augment.model_copy(update={"resolution": alone})})
