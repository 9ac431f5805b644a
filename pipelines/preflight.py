"""Whether a recipe, its data and this machine go together: one function a check, all of them called before anything is
built. A check raises a ValueError of one line that names option, value and remedy."""

import os
import warnings
from collections.abc import Callable

import torch
from torch import nn

from kernels import choice
from kernels.cpu import build, chain, fused
from pipelines import models
from pipelines.data.dataset import Dataset
from pipelines.data.order import sample_weights
from pipelines.distributed import launch_options as launched
from pipelines.distributed.process_group import World, with_mesh
from pipelines.host.devices import has_bfloat16, number_formats
from pipelines.host.extras import require
from pipelines.models.chain import is_stage
from pipelines.recipe import Recipe, networks, processes
from pipelines.recipe.training import Augment


def check(recipe: Recipe, dataset: Dataset, world: World) -> None:
    """ValueError from the first check that fails."""
    for each in CHECKS:
        each(recipe, dataset, world)


def meshed(recipe: Recipe, world: World) -> World:
    """The world as the mesh that the strategy needs. ValueError as `processes.copies`."""
    parts = processes.copies(recipe, world.size)
    return with_mesh(world, world.size // parts) if parts < world.size else world


def launch_options(recipe: Recipe, dataset: Dataset, world: World) -> None:
    """`accelerate launch` asks for nothing but what the recipe says. Most of it would be silently ignored otherwise."""
    asked = launched.requested(os.environ)
    found = {option: _as_typed(option, recipe, world.device) for option in asked}
    if found != asked:
        wanted, has = (" ".join(f"{option}={value}" for option, value in each.items()) for each in (asked, found))
        raise ValueError(
            f"accelerate launch asks for {wanted}, and the recipe says {has}: add {wanted} to the command, or launch "
            "without it (--mixed_precision no, --dynamo_backend no, a file that names no strategy)"
        )


def _as_typed(option: str, recipe: Recipe, device: torch.device) -> str:
    """The value of an option as it is typed. `auto` is what it is on the device."""
    value: object = recipe
    for name in option.split("."):
        value = getattr(value, name)
    if option == "compile":
        value = recipe.compile is True or (recipe.compile == "auto" and device.type == "cuda")
    if option == "half_dtype" and value == "auto":
        value = "float16" if device.type == "cuda" else "bfloat16"
    return str(value).lower()


def packages(recipe: Recipe, dataset: Dataset, world: World) -> None:
    """The optional packages of the loader and of the strategy are installed."""
    if recipe.loader.package:
        require(recipe.loader.package, recipe.loader.name)
    if recipe.parallel.package and world.size > 1 and recipe.parallel.sync_gradients:
        require(recipe.parallel.package, recipe.parallel.strategy)


def device_formats(recipe: Recipe, dataset: Dataset, world: World) -> None:
    """The device computes in the recipe's precision. Warns where it emulates bfloat16."""
    warning = emulation(recipe, dataset, world)
    if warning and world.is_main:
        warnings.warn(warning, stacklevel=2)


def emulation(recipe: Recipe, dataset: Dataset, world: World) -> str | None:
    """What to say of a device that emulates bfloat16; None where it computes in the recipe's precision."""
    if torch.bfloat16 not in number_formats(recipe, world.device) or has_bfloat16(world.device):
        return None
    name, remedy = "this CPU", "set precision=float32"
    if world.device.type == "cuda":
        name = torch.cuda.get_device_name(world.device)
        remedy = "set precision=half half_dtype=float16, or precision=float32"
    elif recipe.precision == "half":
        network = models.build_network(recipe.model, dataset.image_shape, len(dataset.class_names))
        network = models.to_precision(network, torch.bfloat16, channels_last=recipe.channels_last)
        has_blocks = any(map(is_stage, network.modules()))
        if has_blocks and _runs_in_cpu_kernels(network, recipe, dataset, world):
            return None
        if has_blocks and fused.extension() is None and build.is_possible():
            remedy = f"run `python -m kernels.cpu.build`, or {remedy}"
    return f"{name} has no bfloat16 and emulates it slowly: {remedy}"


def _runs_in_cpu_kernels(network: nn.Module, recipe: Recipe, dataset: Dataset, world: World) -> bool:
    """Whether a batch goes through the compiled CPU kernels, which need no bfloat16 instructions."""
    choice.use(recipe.kernels)
    if recipe.compile is True or fused.extension() is None:
        return False
    images = min(chain.LEAST_GROUP, recipe.batch_size // recipe.accumulation // world.data.size)
    with torch.no_grad():
        network(torch.zeros(images, *dataset.image_shape, dtype=torch.bfloat16))
    return fused.fused_version() in choice.ran()


def number_of_processes(recipe: Recipe, dataset: Dataset, world: World) -> None:
    """So many processes can train the recipe."""
    processes.check(recipe, world.size)


def buckets(recipe: Recipe, dataset: Dataset, world: World) -> None:
    """PowerSGD has all gradients in one bucket on a CPU (`ddp.bucket_mb`)."""
    parallel = recipe.parallel
    if parallel.compression == "power_sgd" and parallel.bucket_mb and world.device.type == "cpu":
        raise ValueError(
            f"parallel.bucket_mb={parallel.bucket_mb:g} does nothing under parallel.compression=power_sgd on a CPU, "
            "where all gradients are in one bucket: set parallel.bucket_mb=null"
        )


def batches(recipe: Recipe, dataset: Dataset, world: World) -> None:
    """There is a batch, and an epoch's last batch has an image for each process."""
    images, batch_size = len(dataset.train_images), recipe.batch_size
    recipe.steps_per_epoch(images)
    size = world.data.size
    rest = images % batch_size
    if not recipe.drop_last and 0 < rest < size:
        raise ValueError(
            f"drop_last=false leaves a last batch of {rest} images, too few for {size} processes: "
            "set drop_last=true or another batch_size"
        )


def techniques(recipe: Recipe, dataset: Dataset, world: World) -> None:
    """The techniques have the unlabelled images that they need."""
    for name, technique in recipe.techniques.chosen().items():
        if technique.needs_unlabelled and not len(dataset.pool_images):
            raise ValueError(
                f"techniques.{name} needs {dataset.name} images without labels, and data.fraction leaves none: set "
                "data.fraction=0.1"
            )


def augmentation(recipe: Recipe, dataset: Dataset, world: World) -> None:
    """The images are large enough for their augmentation, that of the techniques included. Tokens have none."""
    if dataset.is_tokens:
        return
    side = min(dataset.image_shape[1:])
    for key, augment in recipe.groups(Augment).items():
        if augment.crop >= side:
            raise ValueError(f"{key}.crop={augment.crop} reflects more than an image of {side} pixels has: give less")
        crops = augment.resolution.crops if augment.resolution else None
        if crops and max(crops) > side:
            raise ValueError(
                f"{key}.resolution.crops={list(crops)}: an image has {side} pixels a side: give at most that"
            )
        smallest = min(crops or (side,))
        if augment.cutout > smallest:
            raise ValueError(
                f"{key}.cutout={augment.cutout} is more than the {smallest} pixels of an image: give at most that"
            )


def class_weights(recipe: Recipe, dataset: Dataset, world: World) -> None:
    """There is a weight for each class, and some image can be drawn."""
    sample_weights(torch.as_tensor(dataset.train_labels), recipe.data.class_weights, len(dataset.class_names))


def image_sizes(recipe: Recipe, dataset: Dataset, world: World) -> None:
    """The networks take the images, in their own size and in those that `augment.resolution` gives them."""
    (channels, *sides), classes = dataset.image_shape, len(dataset.class_names)
    sizes = [] if dataset.is_tokens else [(f"data.name={recipe.data.name}", *sides)]
    if resolution := recipe.augment.resolution:
        sizes += [(f"augment.resolution.sizes={list(resolution.sizes)}", side, side) for side in resolution.sizes]
    for key, config in recipe.groups(networks.Regularized, networks.Torchvision, networks.GPT2).items():
        with torch.device("meta"):
            network = models.build_network(config, dataset.image_shape, classes).eval()
            for option, height, width in sizes:
                try:
                    network(torch.empty(1, channels, height, width))
                except (RuntimeError, ValueError, AssertionError) as error:
                    raise ValueError(
                        f"{option}: {key}.name={config.name} does not take images of {height} x {width} pixels; use "
                        f"another size, or {key}={{name: airnet, global_pool: true}}"
                    ) from error


CHECKS: tuple[Callable[[Recipe, Dataset, World], None], ...] = (
    launch_options,
    packages,
    device_formats,
    number_of_processes,
    buckets,
    batches,
    techniques,
    augmentation,
    class_weights,
    image_sizes,
)
