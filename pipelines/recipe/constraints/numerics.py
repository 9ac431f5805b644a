"""Number formats, the scale of losses and gradients, compilation."""

from collections.abc import Callable

from pipelines.recipe import networks
from pipelines.recipe.schema import Recipe
from pipelines.recipe.techniques import GrowingBatch


def scale_that_is_divided_out(recipe: Recipe) -> str | None:
    if recipe.loss.reduction == "sum" and recipe.optimizer.scale_free:
        return (
            f"loss.reduction=sum does nothing under optimizer.name={recipe.optimizer.name}, whose steps do "
            "not depend on the scale of the gradient; set loss.reduction=mean"
        )
    return None


def half_dtype_of_nothing(recipe: Recipe) -> str | None:
    if recipe.half_dtype == "auto" or recipe.precision == "half":
        return None
    return (
        f"half_dtype={recipe.half_dtype} does nothing under precision={recipe.precision}: set precision=half, or "
        "half_dtype=auto"
    )


def half_norms_of_nothing(recipe: Recipe) -> str | None:
    for key, network in recipe.groups(networks.Regularized).items():
        norm = getattr(network, "norm", None)
        if norm and norm.half and recipe.precision != "half":
            return (
                f"{key}.norm.half=true does nothing under precision={recipe.precision}: set precision=half, or "
                f"{key}.norm.half=false"
            )
    return None


def dynamic_scaling_of_nothing(recipe: Recipe) -> str | None:
    if recipe.loss.scaling == "fixed":
        return None
    if recipe.precision != "half" or recipe.loss.reduction == "sum":
        return "loss.scaling=dynamic is for precision=half and loss.reduction=mean: use them, or loss.scaling=fixed"
    if reading := recipe.techniques.where(lambda one: one.changes_gradients or isinstance(one, GrowingBatch)):
        return f"techniques.{reading[0]} needs gradients whose scale is known: set loss.scaling=fixed"
    return None


def small_changes_in_half_precision(recipe: Recipe) -> str | None:
    small = recipe.techniques.where(lambda technique: technique.needs_float32)
    if small and recipe.precision == "half":
        return f"techniques.{small[0]} needs float32 weights: set precision=autocast or float32"
    return None


def mode_of_no_compilation(recipe: Recipe) -> str | None:
    if recipe.compile_mode != "default" and not recipe.compile:
        return f"compile_mode={recipe.compile_mode} does nothing without compile: set compile=auto or compile=true"
    return None


def what_cuda_graphs_cannot_have(recipe: Recipe) -> str | None:
    """They put the results of a call, gradients included, where those of the call before were."""
    mode, techniques = f"compile_mode={recipe.compile_mode}", recipe.techniques
    if recipe.compile_mode == "default":
        return None
    if recipe.accumulation > 1 or techniques.growing_batch:
        name = "techniques.growing_batch" if techniques.growing_batch else f"accumulation={recipe.accumulation}"
        return (
            f"{name} adds up the gradients of several batches, and under {mode} (CUDA graphs) each overwrites the one "
            "before: set compile_mode=default"
        )
    if techniques.batch_selection:
        return (
            f"techniques.batch_selection makes a new proxy for each trial, and under {mode} its CUDA graphs would be "
            "recorded in the timed training: set compile_mode=default"
        )
    return None


CONSTRAINTS: tuple[Callable[[Recipe], str | None], ...] = (
    scale_that_is_divided_out,
    half_dtype_of_nothing,
    half_norms_of_nothing,
    dynamic_scaling_of_nothing,
    small_changes_in_half_precision,
    mode_of_no_compilation,
    what_cuda_graphs_cannot_have,
)
