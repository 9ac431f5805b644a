"""What a recipe will cost, without training: parameters, operations, steps, memory."""

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from pipelines import models, preflight
from pipelines.data.dataset import Dataset
from pipelines.distributed.process_group import World
from pipelines.host.devices import number_formats
from pipelines.losses import make_loss
from pipelines.optim.optimizers import make_optimizer, needs_master
from pipelines.recipe import Recipe


class FlashAttention(TorchFunctionMode):
    """Attention by the operation that CUDA runs, which keeps no matrix of all positions with all positions. On the meta
    device torch takes one that does."""

    def __torch_function__(
        self, function: Any, types: Sequence[type], args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if function is not F.scaled_dot_product_attention or len(args) > 3 or kwargs.keys() - {"is_causal"}:
            return function(*args, **kwargs)  # with a mask or dropout, too
        is_causal = kwargs.get("is_causal", False)
        return torch.ops.aten._scaled_dot_product_flash_attention(*args, 0.0, is_causal)[0]


@dataclass(frozen=True)
class Estimate:
    """Counts for one trial in one process. Bytes are those of the training device."""

    parameters: int
    flops_per_image: int
    """multiplications and additions of one forward pass of one image at full size, or of one sequence of tokens"""
    steps: int
    train_flops: float | None
    """of the whole training if nothing ends it early, a backward pass taken as twice a forward pass; None where a
    technique computes beside the batches"""
    data_bytes: int
    """images on the device, padded, and one augmented epoch"""
    weight_bytes: int
    """weights, gradients, optimizer state, averages"""
    activation_bytes: int
    """what one batch, or micro-batch, keeps for its backward pass, without the copy in which channels_last values are
    flattened"""

    @property
    def memory_bytes(self) -> int:
        """The sum, without the temporary memory of single operations."""
        return self.data_bytes + self.weight_bytes + self.activation_bytes


def estimate(recipe: Recipe, dataset: Dataset, device: torch.device) -> Estimate:
    """Run one image and one batch through the network on torch's meta device, which computes shapes only.

    ValueError when the recipe does not go together with the data or the device.
    """
    preflight.image_sizes(recipe, dataset, World(device=device))
    weights_dtype, dtype = number_formats(recipe, device)
    with torch.device("meta"):
        network = models.build_network(recipe.model, dataset.image_shape, len(dataset.class_names))
        network = models.to_precision(network, weights_dtype, channels_last=False)
        parameters = list(network.parameters())
        micro_batch = recipe.batch_size // recipe.accumulation
        batch_dtype = torch.int64 if dataset.is_tokens else weights_dtype
        batch = torch.empty(micro_batch, *dataset.image_shape, dtype=batch_dtype)
        labels = torch.empty(micro_batch, *dataset.train_labels.shape[1:], dtype=torch.int64)

    saved: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        saved[tensor.untyped_storage()._cdata] = tensor.untyped_storage().nbytes()
        held.append(tensor)
        return tensor

    held: list[torch.Tensor] = []  # so that no storage is freed and its identity used again
    with FlashAttention(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        make_loss(recipe.loss)(network(batch), labels)
    for parameter in parameters:
        saved.pop(parameter.untyped_storage()._cdata, None)
    network.eval()
    images = len(dataset.train_images)
    data_bytes = _data_bytes(recipe, dataset, device, dtype.itemsize)
    steps, steps_per_epoch = recipe.steps(images), recipe.steps_per_epoch(images)
    resolution = recipe.augment.resolution
    shape = dataset.image_shape
    freeze_out = recipe.techniques.freeze_out
    ends = freeze_out.ends(steps_per_epoch) if freeze_out else []
    pruning = recipe.techniques.data_pruning
    kinds: Counter[tuple[tuple[int, ...], int, float]] = Counter()  # images trained on, of each kind
    for step in range(steps):
        kind = (
            (shape[0], *(resolution.size(step // steps_per_epoch),) * 2) if resolution else shape,
            bisect_right(ends, step),
            pruning.kept(recipe.batch_size) if pruning and pruning.acts_at(step, steps_per_epoch) else 1.0,
        )
        kinds[kind] += recipe.samples(step + 1, images) - recipe.samples(step, images)
    is_counted = not recipe.techniques.where(lambda technique: technique.computes_beside)
    train_flops = sum(
        seen * share * _flops_per_image(recipe, network, batch.new_empty(1, *shape), frozen)
        for (shape, frozen, share), seen in kinds.items()
    )
    count = sum(parameter.numel() for parameter in parameters)
    activations = sum(saved.values())
    if recipe.precision == "autocast":
        activations //= 2
    return Estimate(
        parameters=count,
        flops_per_image=flops(network, batch[:1]),
        steps=steps,
        train_flops=train_flops if is_counted else None,
        data_bytes=data_bytes,
        weight_bytes=sum(parameter.nbytes for parameter in parameters) + count * _state_bytes(recipe, weights_dtype),
        activation_bytes=activations,
    )


def flops(network: nn.Module, image: torch.Tensor) -> int:
    """Multiplications and additions of one forward pass."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(image)
    return counter.get_total_flops()


def _flops_per_image(recipe: Recipe, network: nn.Module, image: torch.Tensor, frozen_stages: int) -> float:
    """Operations of a training step for each image of its batch, those of a proxy network included."""
    selection = recipe.techniques.batch_selection
    backward = 2.0 * flops(network, image)
    if frozen_stages:
        backward -= 2.0 * flops(models.until_stage(network, frozen_stages), image)
    if recipe.techniques.linear_probe:
        backward = 2.0 * flops(network.head, image.new_empty(1, network.head.in_features))
    if selection is None:
        return flops(network, image) + backward
    with torch.device("meta"):
        proxy = models.build_network(selection.proxy, tuple(image.shape[1:]), network.head.out_features)
        proxy = proxy.to(image.dtype).eval()
    step = selection.keep * (flops(network, image) + backward)
    return step + (1 + 2 / selection.every) * flops(proxy, image)


def _data_bytes(recipe: Recipe, dataset: Dataset, device: torch.device, itemsize: int) -> int:
    """Training and test data in the device's memory.

    itemsize: bytes of a value that the network gets.
    """
    if dataset.is_tokens:  # the sequences, an epoch of them, and the targets of both
        return 4 * dataset.train_images.nbytes
    test_values = len(dataset.test_images) * math.prod(dataset.image_shape)
    return _training_bytes(recipe, dataset, device, itemsize) + test_values * (1 + itemsize)


def _training_bytes(recipe: Recipe, dataset: Dataset, device: torch.device, itemsize: int) -> int:
    """The training images: as they came, as they are kept, and as the network gets them."""
    channels, height, width = dataset.image_shape
    plain = channels * height * width
    padded = channels * (height + 2 * recipe.augment.crop) * (width + 2 * recipe.augment.crop)
    images, batch, loader = len(dataset.train_images), recipe.batch_size, recipe.loader
    if device.type != "cpu" and not loader.on_device:
        return batch * (plain + (padded + plain) * itemsize)
    copy = {"none": 0, "bytes": padded, "values": padded * itemsize}[loader.padded_copy]
    augmented = images if loader.augments_epochs else batch
    return images * (plain + copy) + augmented * plain * itemsize


def _state_bytes(recipe: Recipe, weights_dtype: torch.dtype) -> int:
    """Bytes a parameter beside the parameter itself: gradient, optimizer state, master, average."""
    has_masters = needs_master(recipe, weights_dtype)
    trained = 4 if has_masters else weights_dtype.itemsize
    master = 4 if has_masters else 0
    copies = sum(technique.weight_copies for technique in recipe.techniques.chosen().values())
    return trained + _optimizer_states(recipe) * trained + master + 4 * copies


def _optimizer_states(recipe: Recipe) -> int:
    """Tensors of the size of a filter that the optimizer keeps for it: counted after a step on a small one."""
    network = nn.Conv2d(1, 2, 3)
    optimizers = make_optimizer(network, recipe, local_batch_size=1, steps=1, steps_per_epoch=1).optimizers
    network(torch.ones(1, 1, 3, 3)).sum().backward()
    for optimizer in optimizers:
        optimizer.step()
    kept = [value for one in optimizers for state in one.state.values() for value in state.values()]
    return sum(isinstance(value, torch.Tensor) and value.shape == network.weight.shape for value in kept)
