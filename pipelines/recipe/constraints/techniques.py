"""Techniques: what each of them needs, and which do not go together."""

from collections.abc import Callable

from pipelines.recipe import networks
from pipelines.recipe.schema import Recipe


def whitening_bias_of_nothing(recipe: Recipe) -> str | None:
    whitening = getattr(recipe.model, "whitening", None)
    if recipe.techniques.whitening_bias and not (whitening and whitening.bias):
        return "techniques.whitening_bias needs model.whitening.bias=true: there is no such bias"
    return None


def stages_that_cannot_freeze(recipe: Recipe) -> str | None:
    freeze_out, whitening_bias = recipe.techniques.freeze_out, recipe.techniques.whitening_bias
    if not freeze_out:
        return None
    stages = getattr(recipe.model, "stages", 0)
    if len(freeze_out.epochs) >= stages:
        name = f"techniques.freeze_out.epochs={list(freeze_out.epochs)}"
        if not stages:
            return f"{name}: model.name={recipe.model.name} has no stages to freeze; use model.name=airnet or davidnet"
        return f"{name} freezes all {stages} stages of model.name={recipe.model.name}; give at most {stages - 1} epochs"
    if whitening_bias and whitening_bias.epochs > freeze_out.epochs[0]:
        return (
            f"techniques.whitening_bias.epochs={whitening_bias.epochs:g}: the bias is frozen with the first "
            f"stage, by techniques.freeze_out.epochs={list(freeze_out.epochs)}; give at most {freeze_out.epochs[0]:g}"
        )
    return None


def dropout_that_goes_nowhere(recipe: Recipe) -> str | None:
    progressive, model = recipe.techniques.progressive_dropout, recipe.model
    if not progressive:
        return None
    if isinstance(model, networks.Torchvision):
        return "techniques.progressive_dropout cannot change the dropout of model.name=torchvision: set it to null"
    rates = model.dropout
    if not any(dict(rates).values()):
        return "techniques.progressive_dropout needs a final rate: set model.dropout={head: 0.5}"
    for place, rate in progressive.start:
        if rate and not getattr(rates, place):
            return (
                f"techniques.progressive_dropout.start.{place}={rate} does nothing without a final rate: "
                f"set model.dropout.{place}=0.5"
            )
    return None


def early_stopping_without_images(recipe: Recipe) -> str | None:
    if recipe.techniques.early_stopping and not recipe.data.holds_out:
        return (
            "techniques.early_stopping watches the accuracy on held-out images, and there are none: set "
            "data.validation=0.1"
        )
    return None


def more_members_than_epochs(recipe: Recipe) -> str | None:
    ensemble = recipe.techniques.ensemble
    if ensemble and ensemble.members > recipe.epochs:
        return (
            f"techniques.ensemble trains {ensemble.members} members, and epochs={recipe.epochs:g} is less: set "
            f"epochs={ensemble.members} or more, or fewer members"
        )
    return None


def two_that_decide_what_is_evaluated(recipe: Recipe) -> str | None:
    deciding = recipe.techniques.where(lambda technique: technique.evaluates_other_weights)
    if len(deciding) > 1:
        return (
            f"techniques {' and '.join(deciding)} each decide which weights are evaluated: keep one, and set "
            "the others to null"
        )
    techniques = recipe.techniques
    if techniques.lookahead and (techniques.early_stopping or techniques.ensemble):
        return (
            "techniques.lookahead moves the weights back towards earlier ones, even after early_stopping or ensemble "
            "has replaced them: keep one, and set the other to null"
        )
    return None


def what_new_weights_undo(recipe: Recipe) -> str | None:
    techniques = recipe.techniques.chosen().items()
    options = [f"techniques.{name}.{technique.redraws_by}" for name, technique in techniques if technique.redraws_by]
    for does, names in (
        ("acts once in a training", recipe.techniques.where(lambda technique: technique.acts_once)),
        ("averages the weights of many steps", recipe.techniques.where(lambda technique: technique.averages_weights)),
    ):
        if options and names:
            return (
                f"techniques.{names[0]} {does}, and {options[0]} draws new weights during the training: set "
                f"techniques.{names[0]}=null, or leave {options[0]} out"
            )
    return None


def two_objectives(recipe: Recipe) -> str | None:
    objectives = recipe.techniques.where(lambda technique: technique.own_objective)
    if len(objectives) > 1:
        return f"techniques {' and '.join(objectives)} each minimize something of their own: keep one"
    if objectives and recipe.loss.reduction == "sum":
        return f"techniques.{objectives[0]} adds to the mean loss of a batch: set loss.reduction=mean"
    if objectives and recipe.accumulation > 1:
        return f"techniques.{objectives[0]} takes its own images once a step: set accumulation=1"
    return None


def batches_that_are_not_whole(recipe: Recipe) -> str | None:
    choosing = [name for name in ("batch_selection", "data_pruning") if getattr(recipe.techniques, name)]
    if len(choosing) > 1:
        return f"techniques {' and '.join(choosing)} each choose the images of a batch: keep one"
    if choosing and recipe.accumulation > 1:
        return f"techniques.{choosing[0]} leaves too little of a batch for micro-batches: set accumulation=1"
    if recipe.techniques.data_pruning and recipe.techniques.self_training:
        return (
            "techniques.data_pruning needs the loss of each image, and techniques.self_training adds images of its "
            "own: keep one"
        )
    objectives = recipe.techniques.where(lambda technique: technique.own_objective)
    if recipe.techniques.data_pruning and objectives:
        return (
            f"techniques.data_pruning needs the loss of each image, and techniques.{objectives[0]} minimizes something "
            "else: keep one"
        )
    return None


def sum_over_added_images(recipe: Recipe) -> str | None:
    if recipe.techniques.self_training and recipe.loss.reduction == "sum":
        return (
            "techniques.self_training adds images to a batch, and loss.reduction=sum divides the rate by batch_size "
            "alone: set loss.reduction=mean"
        )
    return None


def images_of_two_sizes(recipe: Recipe) -> str | None:
    adding = [name for name in ("self_training", "fixmatch", "mean_teacher") if getattr(recipe.techniques, name)]
    if adding and recipe.augment.resolution:
        return (
            f"techniques.{adding[0]} adds unlabelled images in their full size to a batch, whose images "
            "augment.resolution resizes: set augment.resolution=null"
        )
    return None


def gradients_that_are_still_added_up(recipe: Recipe) -> str | None:
    at_each_batch = recipe.techniques.where(lambda technique: technique.changes_gradients)
    if recipe.techniques.growing_batch and at_each_batch:
        return (
            f"techniques.{at_each_batch[0]} changes the gradients of each batch, and techniques.growing_batch adds up "
            "those of several: keep one, and set the other to null"
        )
    return None


def optimizer_of_a_frozen_backbone(recipe: Recipe) -> str | None:
    if recipe.techniques.linear_probe and recipe.optimizer.name == "muon":
        return (
            "optimizer.name=muon is for convolutions, and techniques.linear_probe trains none: set optimizer={name: "
            "sgd, lr: 0.05}"
        )
    return None


def what_changes_a_frozen_backbone(recipe: Recipe) -> str | None:
    if not recipe.techniques.linear_probe:
        return None
    if getattr(recipe.model, "norm", None):
        return (
            f"techniques.linear_probe keeps the backbone as it is, and model.name={recipe.model.name} has norms, whose "
            "statistics would change: set model={name: convnet} without a norm"
        )
    distillation = recipe.techniques.distillation
    if distillation and distillation.feature_weight:
        return (
            "techniques.linear_probe keeps the backbone as it is, and techniques.distillation.feature_weight="
            f"{distillation.feature_weight:g} trains its features: set feature_weight=0, or techniques.linear_probe="
            "null"
        )
    return None


CONSTRAINTS: tuple[Callable[[Recipe], str | None], ...] = (
    whitening_bias_of_nothing,
    stages_that_cannot_freeze,
    dropout_that_goes_nowhere,
    early_stopping_without_images,
    more_members_than_epochs,
    two_that_decide_what_is_evaluated,
    what_new_weights_undo,
    two_objectives,
    batches_that_are_not_whole,
    sum_over_added_images,
    images_of_two_sizes,
    gradients_that_are_still_added_up,
    optimizer_of_a_frozen_backbone,
    what_changes_a_frozen_backbone,
)
