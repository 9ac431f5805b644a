"""Which trainings the warm-up runs so that a trial meets no network, shape or graph for the first time."""

from collections.abc import Iterator

from pipelines.recipe import Recipe
from pipelines.recipe.training import Resolution

STEPS = 3


def rehearsals(recipe: Recipe, images: int) -> Iterator[Recipe]:
    """The recipe in a few steps over so many images, once for each size of theirs; the whitening layer's bias is frozen
    after the first step, since the network is another graph then."""
    steps = recipe.steps_per_epoch(images)
    augment, techniques = recipe.augment, recipe.techniques
    if techniques.whitening_bias:
        brief = techniques.whitening_bias.model_copy(update={"epochs": 1 / steps})
        techniques = techniques.model_copy(update={"whitening_bias": brief})
    epochs = min(STEPS / steps, recipe.epochs)
    for size in augment.resolution.sizes if augment.resolution else (None,):
        alone = Resolution(epochs=(0,), sizes=(size,)) if size else None
        resized = augment.model_copy(update={"resolution": alone})
        yield recipe.model_copy(update={"epochs": epochs, "augment": resized, "techniques": techniques})
