"""What a recipe may not ask for at once: one function a constraint. It returns the error message, or None."""

from collections.abc import Callable

from pipelines.recipe import networks
from pipelines.recipe.schema import Recipe
from pipelines.recipe.techniques import GrowingBatch, Technique
from pipelines.recipe.training import RANDOM, Augment


def check(recipe: Recipe) -> None:
    """ValueError for the first constraint that the recipe violates."""
    for constraint in CONSTRAINTS:
        if message := constraint(recipe):
            raise ValueError(message)


def chosen(recipe: Recipe, applies: Callable[[Technique], bool]) -> list[str]:
    """The names of the recipe's techniques to which something applies."""
    return [name for name, technique in recipe.techniques.chosen().items() if applies(technique)]


def network_of_other_data(recipe: Recipe) -> str | None:
    data, model = recipe.data, recipe.model
    if data.is_tokens == isinstance(model, networks.GPT2):
        return None
    if data.is_tokens:
        return f"model.name={model.name} takes images, and data.name={data.name} has tokens: set model={{name: gpt2}}"
    return (
        f"model.name={model.name} takes tokens, and data.name={data.name} has images: set data={{name: made-up-tokens, "
        "tokens: {sequences: 96, length: 1024}}"
    )


def what_is_for_images(recipe: Recipe) -> str | None:
    if not recipe.data.is_tokens:
        return None
    changed = recipe.model_dump(mode="json", exclude_defaults=True)
    options = [
        f"{group}.{option}={value}"
        for group, of_tokens in OPTIONS_OF_TOKENS.items()
        for option, value in changed.get(group, {}).items()
        if option not in of_tokens
    ]
    techniques = [f"techniques.{name}" for name in chosen(recipe, lambda technique: not technique.takes_tokens)]
    if found := [*options, *techniques]:
        return f"{found[0]} is for images, and data.name={recipe.data.name} has tokens: leave it out"
    return None


def what_gpt2_cannot_do(recipe: Recipe) -> str | None:
    if not isinstance(recipe.model, networks.GPT2):
        return None
    if recipe.precision == "half":
        return "precision=half cannot be combined with model.name=gpt2: set precision=autocast"
    if recipe.optimizer.name == "muon":
        return "optimizer.name=muon is for convolutions, and model.name=gpt2 has none: set optimizer={name: adamw}"
    if recipe.parallel.strategy not in STRATEGIES_OF_GPT2:
        return (
            f"parallel.strategy={recipe.parallel.strategy} cannot be combined with model.name=gpt2, whose first and "
            f"last layers share their weights: use {' or '.join(STRATEGIES_OF_GPT2)}"
        )
    return None


def scale_that_is_divided_out(recipe: Recipe) -> str | None:
    if recipe.loss.reduction == "sum" and recipe.optimizer.scale_free:
        return (
            f"loss.reduction=sum does nothing under optimizer.name={recipe.optimizer.name}, which divides the "
            "gradient's scale out; set loss.reduction=mean"
        )
    return None


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
            f"techniques.swa goes through an epoch's batches once more, and loader.name={loader.name} would draw "
            "others: set loader={name: resident} or {name: bulk}"
        )
    return None


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
        return "techniques.progressive_dropout has no rates of model.name=torchvision to change: set it to null"
    rates = model.dropout
    if not any(dict(rates).values()):
        return "techniques.progressive_dropout needs a rate to go to: set model.dropout={head: 0.5}"
    for place, rate in progressive.start:
        if rate and not getattr(rates, place):
            return (
                f"techniques.progressive_dropout.start.{place}={rate} does nothing without a rate to go to: "
                f"set model.dropout.{place}=0.5"
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
        return f"techniques.ensemble trains {ensemble.members} members, and epochs={recipe.epochs:g} is less"
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
    if reading := chosen(recipe, lambda one: one.changes_gradients or isinstance(one, GrowingBatch)):
        return f"techniques.{reading[0]} needs gradients whose scale is known: set loss.scaling=fixed"
    return None


def two_that_decide_what_is_evaluated(recipe: Recipe) -> str | None:
    deciding = chosen(recipe, lambda technique: technique.evaluates_other_weights)
    if len(deciding) > 1:
        return (
            f"techniques {' and '.join(deciding)} each decide which weights are evaluated: keep one, and set "
            "the others to null"
        )
    techniques = recipe.techniques
    if techniques.lookahead and (techniques.early_stopping or techniques.ensemble):
        return (
            "techniques.lookahead pulls the weights back to those of earlier epochs, also where early_stopping or "
            "ensemble has put others: keep one, and switch the other off with null"
        )
    return None


def what_new_weights_undo(recipe: Recipe) -> str | None:
    techniques = recipe.techniques.chosen().items()
    options = [f"techniques.{name}.{technique.redraws_by}" for name, technique in techniques if technique.redraws_by]
    for does, names in (
        ("acts once in a training", chosen(recipe, lambda technique: technique.acts_once)),
        ("averages the weights of many steps", chosen(recipe, lambda technique: technique.averages_weights)),
    ):
        if options and names:
            return (
                f"techniques.{names[0]} {does}, and {options[0]} draws new weights in the course of it: set "
                f"techniques.{names[0]}=null, or leave the other out"
            )
    return None


def two_objectives(recipe: Recipe) -> str | None:
    objectives = chosen(recipe, lambda technique: technique.own_objective)
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
    objectives = chosen(recipe, lambda technique: technique.own_objective)
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


def gradients_that_are_still_added_up(recipe: Recipe) -> str | None:
    at_each_batch = chosen(recipe, lambda technique: technique.changes_gradients)
    if recipe.techniques.growing_batch and at_each_batch:
        return (
            f"techniques.{at_each_batch[0]} changes the gradients of each batch, and techniques.growing_batch adds up "
            "those of several: keep one, and set the other to null"
        )
    return None


def statistics_of_a_frozen_backbone(recipe: Recipe) -> str | None:
    if recipe.techniques.linear_probe and getattr(recipe.model, "norm", None):
        return (
            f"techniques.linear_probe keeps the backbone as it is, and model.name={recipe.model.name} has norms, whose "
            "statistics would move: set model={name: convnet} without a norm"
        )
    return None


def views_that_are_not_of_epochs(recipe: Recipe) -> str | None:
    for key, views in recipe.groups(Augment).items():
        if key == "augment":
            continue
        if views.resolution:
            return f"{key}.resolution does nothing: these views have the size of the images; leave it out"
        if views.flip == "alternating":
            return f"{key}.flip=alternating goes by the epoch, and these views are drawn anew: set {key}.flip=random"
    return None


def tokens_for_networks_of_techniques(recipe: Recipe) -> str | None:
    if others := [key for key in recipe.groups(networks.GPT2) if key != "model"]:
        return (
            f"{others[0]}.name=gpt2 takes tokens, and {others[0].rpartition('.')[0]} is for images: use another network"
        )
    return None


def what_torchvision_networks_cannot_do(recipe: Recipe) -> str | None:
    techniques, theirs = recipe.techniques, list(recipe.groups(networks.Torchvision))
    if theirs and recipe.precision == "half":
        return f"precision=half cannot be combined with {theirs[0]}.name=torchvision: set precision=autocast"
    distillation = techniques.distillation
    if distillation and distillation.feature_weight and isinstance(distillation.teacher, networks.Torchvision):
        return (
            "techniques.distillation.feature_weight needs the layers of our networks, and teacher.name=torchvision "
            "has others: set feature_weight=0"
        )
    if not isinstance(recipe.model, networks.Torchvision):
        return None
    if by_features := chosen(recipe, lambda technique: technique.needs_features):
        return (
            f"techniques.{by_features[0]} needs the layers of a network of ours, and model.name=torchvision has others"
        )
    by_head = [name for name in ("mixup", "cutmix", "batch_selection") if getattr(techniques, name)]
    if by_head and recipe.model.architecture.startswith("squeezenet"):
        return f"techniques.{by_head[0]} needs a linear last layer, and {recipe.model.architecture} has a convolution"
    return None


def small_changes_in_half_precision(recipe: Recipe) -> str | None:
    small = chosen(recipe, lambda technique: technique.needs_float32)
    if small and recipe.precision == "half":
        return f"techniques.{small[0]} needs float32 weights: set precision=autocast or float32"
    return None


def mode_of_no_compilation(recipe: Recipe) -> str | None:
    if recipe.compile_mode != "default" and not recipe.compile:
        return f"compile_mode={recipe.compile_mode} does nothing without compile: set compile=auto or compile=true"
    return None


def options_of_another_strategy(recipe: Recipe) -> str | None:
    parallel = recipe.parallel
    if parallel.zero_stage and parallel.strategy != "deepspeed":
        return (
            f"parallel.zero_stage={parallel.zero_stage} does nothing under parallel.strategy={parallel.strategy}: set "
            "parallel.strategy=deepspeed"
        )
    if parallel.bucket_mb and not parallel.is_replicated:
        return (
            f"parallel.bucket_mb does nothing under parallel.strategy={parallel.strategy}: set parallel.bucket_mb=null"
        )
    for option, strategy in (
        ("compression", "ddp"),
        ("local_sgd_period", "local_sgd"),
        ("local_sgd_start", "local_sgd"),
    ):
        value = getattr(parallel, option)
        if value != type(parallel).model_fields[option].default and parallel.strategy != strategy:
            return (
                f"parallel.{option}={value} does nothing under parallel.strategy={parallel.strategy}: set "
                f"parallel.strategy={strategy}"
            )
    for option in ("power_sgd_rank", "power_sgd_start"):
        value = getattr(parallel, option)
        if value != type(parallel).model_fields[option].default and parallel.compression != "power_sgd":
            return f"parallel.{option}={value} does nothing without parallel.compression=power_sgd: use it"
    for option, strategies in (
        ("size", ("pipeline", "model", "tensor", "columns", "fsdp2")),
        ("cut", ("pipeline", "model")),
        ("schedule", ("pipeline",)),
        ("stages_per_process", ("pipeline",)),
    ):
        if option in parallel.model_dump(exclude_defaults=True) and parallel.strategy not in strategies:
            return (
                f"parallel.{option} does nothing under parallel.strategy={parallel.strategy}: set parallel.strategy="
                f"{strategies[0]}"
            )
    return None


def gradients_that_are_not_sent_whole(recipe: Recipe) -> str | None:
    if recipe.parallel.compression != "none" and recipe.precision == "half":
        return (
            f"parallel.compression={recipe.parallel.compression} compresses float32 gradients, and precision=half has "
            "none: set precision=autocast or parallel.compression=none"
        )
    return None


def what_local_steps_cannot_have(recipe: Recipe) -> str | None:
    if recipe.parallel.strategy != "local_sgd":
        return None
    if using_weights := chosen(recipe, lambda technique: technique.weight_access != "none"):
        return (
            f"techniques.{using_weights[0]} needs the same weights and gradients on all processes, which "
            f"parallel.strategy=local_sgd has every few steps alone: set techniques.{using_weights[0]}=null or "
            "parallel.strategy=ddp"
        )
    if recipe.precision == "half":
        return "precision=half cannot be combined with parallel.strategy=local_sgd: set precision=autocast or float32"
    return None


def what_shares_one_network(recipe: Recipe) -> str | None:
    parallel = recipe.parallel
    if not parallel.shares_images:
        return None
    name = f"parallel.strategy={parallel.strategy}"
    if (parallel.schedule == "interleaved") != (parallel.stages_per_process > 1):
        return (
            f"parallel.schedule={parallel.schedule} cannot be combined with parallel.stages_per_process="
            f"{parallel.stages_per_process}: set schedule=interleaved stages_per_process=2, or schedule=1f1b"
        )
    if isinstance(recipe.model, networks.Torchvision):
        return f"{name} needs layers that follow each other, which torchvision's networks do not have: use ddp or fsdp2"
    if parallel.strategy == "model" and recipe.accumulation > 1:
        return f"accumulation={recipe.accumulation} cannot be combined with {name}: set parallel.strategy=pipeline"
    if parallel.strategy == "columns" and not isinstance(recipe.model, networks.AlexNet):
        return f"{name} needs a network in two columns: set model.name=alexnet, or parallel.strategy=tensor"
    if recipe.precision == "autocast" and parallel.strategy != "tensor":
        return (
            f"precision=autocast cannot be combined with {name}, whose processes exchange float32: set "
            "precision=float32"
        )
    norm = getattr(recipe.model, "norm", None)
    if norm and norm.sync:
        return (
            f"model.norm.sync=true cannot be combined with {name}: its processes do not all have this norm; set "
            "sync=false"
        )
    if parallel.strategy == "tensor" and isinstance(recipe.model, networks.AlexNet):
        return f"{name} does not know the columns of model.name=alexnet: set parallel.strategy=columns"
    if getattr(recipe.model, "drop_connect", 0) and parallel.strategy == "tensor":
        return f"model.drop_connect cannot be combined with {name}, which slices the weights: set model.drop_connect=0"
    return None


def what_cannot_be_sharded(recipe: Recipe) -> str | None:
    parallel = recipe.parallel
    if parallel.is_replicated:
        return None
    name = f"parallel.strategy={parallel.strategy}"

    def is_impossible(technique: Technique) -> bool:
        if technique.changes_graph and not parallel.allows_missing_gradients:
            return True
        if technique.weight_access == "evaluation":
            return not parallel.has_whole_weights
        return technique.weight_access == "training"

    if impossible := chosen(recipe, is_impossible):
        return (
            f"techniques.{impossible[0]} needs weights and gradients as they are without {name}: set "
            f"techniques.{impossible[0]}=null or parallel.strategy=ddp"
        )
    if recipe.optimizer.needs_whole_tensors:
        return (
            f"optimizer.name={recipe.optimizer.name} needs whole tensors, and {name} shards them: use another "
            "optimizer or parallel.strategy=ddp"
        )
    if recipe.precision == "half":
        return (
            f"precision=half cannot be combined with {name}, which wants one dtype: set precision=autocast or float32"
        )
    if recipe.compile:
        return (
            f"compile={str(recipe.compile).lower()} cannot be combined with {name}, which begins every trial with "
            "another network: set compile=false"
        )
    return None


def micro_batches_that_are_not_equally_many(recipe: Recipe) -> str | None:
    parallel, norm = recipe.parallel, getattr(recipe.model, "norm", None)
    if recipe.accumulation == 1 or recipe.drop_last or (parallel.is_replicated and not (norm and norm.sync)):
        return None
    name = "model.norm.sync=true" if parallel.is_replicated else f"parallel.strategy={parallel.strategy}"
    return (
        f"accumulation={recipe.accumulation} and drop_last=false do not go with {name}: of the last batch one "
        "process may have more micro-batches than another, and would wait for it in vain; set drop_last=true"
    )


OPTIONS_OF_TOKENS: dict[str, set[str]] = {
    "data": {"name", "tokens"},
    "augment": set(),
    "loader": set(),
    "initialization": set(),
    "loss": {"label_smoothing"},
    "evaluation": {"every"},
}
"""Options that have a meaning where the data are tokens, by group; all others of these groups are for images."""
STRATEGIES_OF_GPT2 = ("ddp", "local_sgd", "fsdp2")

CONSTRAINTS: tuple[Callable[[Recipe], str | None], ...] = (
    network_of_other_data,
    what_is_for_images,
    what_gpt2_cannot_do,
    scale_that_is_divided_out,
    what_other_libraries_cannot_do,
    what_single_images_cannot_have,
    whitening_bias_of_nothing,
    stages_that_cannot_freeze,
    dropout_that_goes_nowhere,
    target_without_evaluation,
    evaluation_options_of_nothing,
    early_stopping_without_images,
    more_members_than_epochs,
    half_dtype_of_nothing,
    half_norms_of_nothing,
    dynamic_scaling_of_nothing,
    two_that_decide_what_is_evaluated,
    what_new_weights_undo,
    two_objectives,
    batches_that_are_not_whole,
    sum_over_added_images,
    gradients_that_are_still_added_up,
    statistics_of_a_frozen_backbone,
    views_that_are_not_of_epochs,
    tokens_for_networks_of_techniques,
    what_torchvision_networks_cannot_do,
    small_changes_in_half_precision,
    mode_of_no_compilation,
    options_of_another_strategy,
    gradients_that_are_not_sent_whole,
    what_local_steps_cannot_have,
    what_cannot_be_sharded,
    micro_batches_that_are_not_equally_many,
    what_shares_one_network,
)
