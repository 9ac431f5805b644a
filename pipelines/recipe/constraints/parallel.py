"""Several processes."""

from collections.abc import Callable

from pipelines.recipe import networks
from pipelines.recipe.schema import Recipe
from pipelines.recipe.techniques import Technique

OF_STRATEGIES = {
    "bucket_mb": ("ddp", "local_sgd"),
    "compression": ("ddp",),
    "local_sgd_period": ("local_sgd",),
    "local_sgd_start": ("local_sgd",),
    "size": ("pipeline", "model", "tensor", "columns", "fsdp2"),
    "cut": ("pipeline", "model"),
    "schedule": ("pipeline",),
    "stages_per_process": ("pipeline",),
    "zero_stage": ("deepspeed",),
}
"""options of some strategies alone, and which these are"""


def options_of_another_strategy(recipe: Recipe) -> str | None:
    parallel = recipe.parallel
    for option, value in parallel.model_dump(mode="json", exclude_defaults=True).items():
        default = type(parallel).model_fields[option].default
        name, strategies = f"parallel.{option}={value}", OF_STRATEGIES.get(option)
        if strategies and parallel.strategy not in strategies:
            return (
                f"{name} does nothing under parallel.strategy={parallel.strategy}: set parallel.strategy="
                f"{strategies[0]} or parallel.{option}={'null' if default is None else default}"
            )
        if option.startswith("power_sgd_") and parallel.compression != "power_sgd":
            return f"{name} does nothing without parallel.compression=power_sgd: use it"
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
    if using_weights := recipe.techniques.where(lambda technique: technique.weight_access != "none"):
        return (
            f"techniques.{using_weights[0]} needs the same weights and gradients on all processes, which "
            f"parallel.strategy=local_sgd gives only every few steps: set techniques.{using_weights[0]}=null or "
            "parallel.strategy=ddp"
        )
    if recipe.precision == "half":
        return "precision=half cannot be combined with parallel.strategy=local_sgd: set precision=autocast or float32"
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

    if impossible := recipe.techniques.where(is_impossible):
        return (
            f"techniques.{impossible[0]} needs the same weights and gradients as without {name}: set "
            f"techniques.{impossible[0]}=null or parallel.strategy=ddp"
        )
    if recipe.optimizer.needs_whole_tensors:
        return (
            f"optimizer.name={recipe.optimizer.name} needs whole tensors, and {name} shards them: use another "
            "optimizer or parallel.strategy=ddp"
        )
    if recipe.precision == "half":
        return (
            f"precision=half cannot be combined with {name}, which needs weights of one dtype: set "
            "precision=autocast or float32"
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
        f"accumulation={recipe.accumulation} and drop_last=false do not go with {name}: in the last batch one "
        "process may have more micro-batches than another, and would wait for it forever; set drop_last=true"
    )


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


CONSTRAINTS: tuple[Callable[[Recipe], str | None], ...] = (
    options_of_another_strategy,
    gradients_that_are_not_sent_whole,
    what_local_steps_cannot_have,
    what_cannot_be_sharded,
    micro_batches_that_are_not_equally_many,
    what_shares_one_network,
)
