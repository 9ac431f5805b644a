"""Loaders, augmentation, target and evaluation."""

from collections.abc import Callable

from pipelines.recipe.schema import Recipe
from pipelines.recipe.training import RANDOM, Augment


def what_other_libraries_cannot_do(recipe: Recipe) -> str | None:
    supported = recipe.loader.augmentations
    chosen = recipe.augment.model_dump(exclude_defaults=True).keys()
    if supported is not None and (missing := chosen - supported):
        return f"loader.name={recipe.loader.name} has no augment.{min(missing)}; set loader={{name: bulk}}"
    return None


def what_single_images_cannot_have(recipe: Recipe) -> str | None:
    loader = recipe.loader
    if recipe.augment.flip == "alternating" and not loader.draws_in_bulk:
        return "augment.flip=alternating is not drawn image by image; set loader.choices=bulk or augment.flip=random"
    if recipe.augment.draw == "even" and not loader.draws_in_bulk:
        return "augment.draw=even is not drawn image by image; set loader.choices=bulk or augment.draw=independent"
    if recipe.techniques.swa and not loader.repeats_epochs:
        return (
            f"techniques.swa reads the batches of an epoch a second time, and loader.name={loader.name} would draw "
            "different ones: set loader={name: resident} or {name: bulk}"
        )
    return None


def target_without_evaluation(recipe: Recipe) -> str | None:
    if recipe.target is not None and recipe.evaluation.every is None:
        return f"target={recipe.target:g} needs an evaluation: set evaluation.every=1, or target=null"
    if recipe.data.name in RANDOM and recipe.evaluation.every is not None:
        return f"data.name={recipe.data.name} has no test images: set evaluation.every=null and target=null"
    return None


def evaluation_options_of_nothing(recipe: Recipe) -> str | None:
    evaluation = recipe.evaluation
    if evaluation.tta_share < 1 and evaluation.tta == "none":
        return (
            f"evaluation.tta_share={evaluation.tta_share:g} does nothing without test-time augmentation: set "
            "evaluation.tta=flip, or evaluation.tta_share=1"
        )
    for option in ("tta", "train_accuracy", "per_class"):
        default = type(evaluation).model_fields[option].default
        if evaluation.every is None and getattr(evaluation, option) != default:
            return (
                f"evaluation.{option} does nothing without an evaluation: set evaluation.every=1, or "
                f"evaluation.{option}={str(default).lower()}"
            )
    return None


def views_that_are_not_of_epochs(recipe: Recipe) -> str | None:
    for key, views in recipe.groups(Augment).items():
        if key == "augment":
            continue
        if views.resolution:
            return f"{key}.resolution does nothing: these views have the size of the images; leave it out"
        if views.flip == "alternating":
            return f"{key}.flip=alternating depends on the epoch, which these views do not know: set {key}.flip=random"
    return None


CONSTRAINTS: tuple[Callable[[Recipe], str | None], ...] = (
    what_other_libraries_cannot_do,
    what_single_images_cannot_have,
    target_without_evaluation,
    evaluation_options_of_nothing,
    views_that_are_not_of_epochs,
)
