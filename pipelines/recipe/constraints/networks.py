"""Networks, and the data that they take."""

from collections.abc import Callable

from pipelines.recipe import networks
from pipelines.recipe.schema import Recipe

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
    techniques = [
        f"techniques.{name}" for name in recipe.techniques.where(lambda technique: not technique.takes_tokens)
    ]
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
    if by_features := recipe.techniques.where(lambda technique: technique.needs_features):
        return (
            f"techniques.{by_features[0]} needs the layers of a network of ours, and model.name=torchvision has "
            f"others: set techniques.{by_features[0]}=null, or use another network"
        )
    by_head = [name for name in ("mixup", "cutmix", "batch_selection") if getattr(techniques, name)]
    if by_head and recipe.model.architecture.startswith("squeezenet"):
        return (
            f"techniques.{by_head[0]} needs a linear last layer, and {recipe.model.architecture} has a convolution: "
            f"set techniques.{by_head[0]}=null, or use another architecture"
        )
    return None


CONSTRAINTS: tuple[Callable[[Recipe], str | None], ...] = (
    network_of_other_data,
    what_is_for_images,
    what_gpt2_cannot_do,
    tokens_for_networks_of_techniques,
    what_torchvision_networks_cannot_do,
)
