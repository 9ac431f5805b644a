"""What a recipe may not ask for at once: one function a rule, which returns the complaint, or None."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pipelines.recipe.optimizers import SCALE_FREE
from pipelines.recipe.unlabelled import Pretraining

if TYPE_CHECKING:
    from pipelines.recipe.schema import Recipe

EVALUATED = ("swa", "ema", "early_stopping", "ensemble", "mean_teacher")
"""Techniques that decide which weights are evaluated."""

ONCE = ("whitening_bias", "progressive_dropout", "reduce_on_plateau")
"""Techniques that change something once and for all in the course of the training."""

OBJECTIVES = ("distillation", "fixmatch", "mean_teacher")
"""Techniques that minimise something else than the loss of the batch alone."""

WITHOUT_WEIGHTS = ("mixup", "cutmix", "progressive_dropout", "reduce_on_plateau", "loader_costs")
"""Techniques that neither read nor write weights and gradients, so that it does not matter who has them."""

BY_TENSOR = ("muon", "lars", "lamb")
"""Optimizers that need a whole tensor where the others go number by number."""

BY_LAYERS = ("pretrained", "masked_image", "contrastive", "distillation", "linear_probe")
"""Techniques that use a network's layers without what comes before them."""


def chosen(recipe: Recipe, names: tuple[str, ...]) -> list[str]:
    """Those of the techniques that the recipe lists."""
    return [name for name in names if getattr(recipe.techniques, name)]


def scale_that_is_divided_out(recipe: Recipe) -> str | None:
    if recipe.loss.reduction == "sum" and isinstance(recipe.optimizer, SCALE_FREE):
        return (
            f"loss.reduction=sum does nothing under optimizer.name={recipe.optimizer.name}, which divides the "
            "gradient's scale out; say loss.reduction=mean"
        )
    return None


def what_other_libraries_cannot_do(recipe: Recipe) -> str | None:
    changed = recipe.augment.model_dump(exclude_defaults=True).keys() - {"crop", "flip", "cutout"}
    if changed and recipe.loader.name in ("torchvision", "dali"):
        return f"loader.name={recipe.loader.name} has no augment.{min(changed)}; say loader={{name: bulk}}"
    return None


def what_single_images_cannot_have(recipe: Recipe) -> str | None:
    if recipe.loader.name != "torchvision":
        return None
    if recipe.augment.flip == "alternating" and recipe.loader.choices == "per_sample":
        return "augment.flip=alternating is not drawn image by image; say loader.choices=bulk or augment.flip=random"
    if recipe.techniques.swa:
        return (
            "techniques.swa goes through an epoch's batches once more, and loader.name=torchvision would draw others: "
            "say loader={name: resident} or {name: bulk}"
        )
    return None


def whitening_bias_of_nothing(recipe: Recipe) -> str | None:
    whitening = getattr(recipe.model, "whitening", None)
    if recipe.techniques.whitening_bias and not (whitening and whitening.bias):
        return "techniques.whitening_bias needs model.whitening.bias=true: there is no such bias"
    return None


def dropout_that_goes_nowhere(recipe: Recipe) -> str | None:
    progressive, rates = recipe.techniques.progressive_dropout, recipe.model.dropout
    if not progressive:
        return None
    if not any(dict(rates).values()):
        return "techniques.progressive_dropout needs a rate to go to: say model.dropout={head: 0.5}"
    for place, rate in progressive.start:
        if rate and not getattr(rates, place):
            return (
                f"techniques.progressive_dropout.start.{place}={rate} does nothing without a rate to go to: "
                f"say model.dropout.{place}=0.5"
            )
    return None


def early_stopping_without_images(recipe: Recipe) -> str | None:
    if recipe.techniques.early_stopping and not recipe.data.holds_out:
        return (
            "techniques.early_stopping watches the accuracy on held-out images, and there are none: say "
            "data.validation=0.1"
        )
    return None


def more_members_than_epochs(recipe: Recipe) -> str | None:
    ensemble = recipe.techniques.ensemble
    if ensemble and ensemble.members > recipe.epochs:
        return f"techniques.ensemble trains {ensemble.members} members, and epochs={recipe.epochs:g} is less"
    return None


def float16_under_autocast(recipe: Recipe) -> str | None:
    if recipe.precision == "autocast" and recipe.half_dtype == "float16":
        return (
            "half_dtype=float16 does not go with precision=autocast, which uses bfloat16 because that needs no loss "
            "scaling; say half_dtype=auto or precision=half"
        )
    return None


def dynamic_scaling_of_nothing(recipe: Recipe) -> str | None:
    if recipe.loss.scaling == "fixed":
        return None
    if recipe.precision != "half" or recipe.loss.reduction == "sum":
        return "loss.scaling=dynamic is for precision=half and loss.reduction=mean: say them, or loss.scaling=fixed"
    if reading := chosen(recipe, ("penalty", "gradient_clipping", "growing_batch")):
        return f"techniques.{reading[0]} needs gradients whose scale is known: say loss.scaling=fixed"
    return None


def two_that_decide_what_is_evaluated(recipe: Recipe) -> str | None:
    deciding = chosen(recipe, EVALUATED)
    if len(deciding) > 1:
        return (
            f"techniques {' and '.join(deciding)} each decide which weights are evaluated: keep one, and say null for "
            "the others"
        )
    if recipe.techniques.lookahead and chosen(recipe, ("early_stopping", "ensemble")):
        return (
            "techniques.lookahead pulls the weights back to those of earlier epochs, also where early_stopping or "
            "ensemble has put others: keep one, and switch the other off with null"
        )
    return None


def members_that_are_not_alike(recipe: Recipe) -> str | None:
    once, ensemble = chosen(recipe, ONCE), recipe.techniques.ensemble
    if once and ensemble and ensemble.restart == "fresh":
        return (
            f"techniques.{once[0]} acts once in a training, so that the fresh members of techniques.ensemble would "
            f"not be alike: say techniques.{once[0]}=null or techniques.ensemble.restart=warm"
        )
    return None


def two_objectives(recipe: Recipe) -> str | None:
    objectives = chosen(recipe, OBJECTIVES)
    if len(objectives) > 1:
        return f"techniques {' and '.join(objectives)} each minimise something of their own: keep one"
    if objectives and recipe.loss.reduction == "sum":
        return f"techniques.{objectives[0]} adds to the mean loss of a batch: say loss.reduction=mean"
    if objectives and recipe.accumulation > 1:
        return f"techniques.{objectives[0]} takes its own images once a step: say accumulation=1"
    return None


def gradients_that_are_still_added_up(recipe: Recipe) -> str | None:
    at_each_batch = chosen(recipe, ("penalty", "gradient_clipping"))
    if recipe.techniques.growing_batch and at_each_batch:
        return (
            f"techniques.{at_each_batch[0]} changes the gradients of each batch, and techniques.growing_batch adds up "
            "those of several: keep one, and say null for the other"
        )
    return None


def layers_without_what_is_before_them(recipe: Recipe) -> str | None:
    by_layers = chosen(recipe, BY_LAYERS)
    if by_layers and getattr(recipe.model, "whitening", None):
        return f"techniques.{by_layers[0]} does not know the whitening layer: say model.whitening=null"
    return None


def pretraining_in_half_precision(recipe: Recipe) -> str | None:
    for name, knobs in recipe.techniques:
        if isinstance(knobs, Pretraining) and recipe.precision == "half":
            return f"techniques.{name} trains float32 weights: say precision=float32"
    return None


def engine_knobs_of_another_engine(recipe: Recipe) -> str | None:
    parallel = recipe.parallel
    if parallel.zero_stage and parallel.engine != "deepspeed":
        return (
            f"parallel.zero_stage={parallel.zero_stage} does nothing under parallel.engine={parallel.engine}: say "
            "parallel.engine=deepspeed"
        )
    if parallel.bucket_mb and parallel.engine != "ddp":
        return f"parallel.bucket_mb does nothing under parallel.engine={parallel.engine}: say parallel.bucket_mb=null"
    return None


def what_an_engine_cannot_share_out(recipe: Recipe) -> str | None:
    engine, stage = recipe.parallel.engine, recipe.parallel.zero_stage
    if engine == "ddp":
        return None
    name = f"parallel.engine={engine}"
    # DeepSpeed makes a gradient of zero where there is none, on which a frozen bias would drift
    beside = ("whitening_bias",) if engine == "fsdp2" else ("ema",) if stage < 3 else ()
    possible = WITHOUT_WEIGHTS + beside
    if impossible := [technique for technique, knobs in recipe.techniques if knobs and technique not in possible]:
        return (
            f"techniques.{impossible[0]} needs weights and gradients as they are without {name}: say "
            f"techniques.{impossible[0]}=null or parallel.engine=ddp"
        )
    if recipe.optimizer.name in BY_TENSOR:
        return (
            f"optimizer.name={recipe.optimizer.name} looks at whole tensors, and {name} shares them out: say another "
            "optimizer or parallel.engine=ddp"
        )
    if recipe.precision == "half":
        return f"precision=half does not go with {name}, which wants one dtype: say precision=autocast or float32"
    if recipe.compile:
        return f"compile=true does not go with {name}, which begins every trial with another network: say compile=false"
    if recipe.accumulation > 1 and not recipe.drop_last:
        return (
            f"accumulation={recipe.accumulation} and drop_last=false do not go with {name}: of the last batch one "
            "process may have more micro-batches than another, and would wait for it in vain; say drop_last=true"
        )
    return None


RULES: tuple[Callable[[Recipe], str | None], ...] = (
    scale_that_is_divided_out,
    what_other_libraries_cannot_do,
    what_single_images_cannot_have,
    whitening_bias_of_nothing,
    dropout_that_goes_nowhere,
    early_stopping_without_images,
    more_members_than_epochs,
    float16_under_autocast,
    dynamic_scaling_of_nothing,
    two_that_decide_what_is_evaluated,
    members_that_are_not_alike,
    two_objectives,
    gradients_that_are_still_added_up,
    layers_without_what_is_before_them,
    pretraining_in_half_precision,
    engine_knobs_of_another_engine,
    what_an_engine_cannot_share_out,
)
