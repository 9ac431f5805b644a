import numpy as np
import pytest
import torch

from pipelines import models, recipe
from pipelines.data.dataset import Dataset
from pipelines.data.sources import random_tokens
from pipelines.estimate import estimate
from pipelines.host.devices import number_formats
from pipelines.losses import make_loss
from pipelines.recipe.training import MadeUpTokens

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
TINY = ["model.widths=[4,4,6,8]", "model.norm.group_size=4", "batch_size=8", "data.limit=80"]


def blank(train, test, side, channels):
    """A data set of which only the shape matters."""
    images, labels = np.zeros((train + test, side, side, channels), np.uint8), np.zeros(train + test, np.int64)
    names = tuple("0123456789")
    zeros, ones = (0.0,) * channels, (1.0,) * channels
    parts = images[:train], labels[:train], images[train:], labels[train:], images[:0], labels[:0]
    return Dataset("blank", *parts, names, zeros, ones)


TOKENS = random_tokens.blank(MadeUpTokens(sequences=80, length=64, vocabulary=50))
GPT2 = ["model={name: gpt2, layers: 2, width: 16, heads: 2}", "batch_size=8", "precision=float32"]
CIFAR = blank(80, 20, 32, 3)
DIGITS = blank(80, 20, 8, 1)


def activations_on_the_cpu(chosen, dataset, dtype):
    """What one batch really keeps for its backward pass, each storage once, parameters left out."""
    network = models.build_network(chosen.model, dataset.image_shape, len(dataset.class_names))
    network = models.to_precision(network, dtype, channels_last=chosen.channels_last)
    parameters = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
    batch = torch.rand(chosen.batch_size, *dataset.image_shape).to(torch.int64 if dataset.is_tokens else dtype)
    labels = torch.zeros(chosen.batch_size, *dataset.train_labels.shape[1:], dtype=torch.int64)
    if chosen.channels_last and not dataset.is_tokens:
        batch = batch.contiguous(memory_format=torch.channels_last)
    storages = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = make_loss(chosen.loss)(network(batch), labels)
    assert loss.requires_grad
    return sum(storage.nbytes() for pointer, storage in storages.items() if pointer not in parameters)


@pytest.mark.parametrize(
    ("name", "overrides", "dataset"),
    [
        ("digits/quick", ["batch_size=8", "channels_last=false"], DIGITS),
        ("cifar10/davidnet-10", [*TINY, "precision=float32"], CIFAR),
        ("cifar10/davidnet-10", [*TINY, "precision=float32", "model.norm.group_size=null"], CIFAR),
        ("cifar10/davidnet-10", [*TINY, "model.whitening=null", "model.activation={name: relu}"], CIFAR),
        ("throughput/gpt2-124m", GPT2, TOKENS),
    ],
)
def test_activation_memory_is_that_of_a_real_batch(name, overrides, dataset):
    chosen = recipe.load(name, overrides)
    dtype, _ = number_formats(chosen, CPU)
    expected = activations_on_the_cpu(chosen, dataset, dtype)
    assert expected > 10_000
    assert estimate(chosen, dataset, CPU).activation_bytes == pytest.approx(expected, rel=0.01)


def test_davidnet_s_published_counts():
    chosen = recipe.load("cifar10/davidnet-10", ["batch_size=4"])
    costs = estimate(chosen, CIFAR, CUDA)
    assert costs.parameters == pytest.approx(6.57e6, rel=1e-3)
    assert costs.flops_per_image == pytest.approx(760e6, rel=0.01)
    assert costs.train_flops == 3 * costs.flops_per_image * 4 * costs.steps


def test_steps_are_those_of_the_recipe():
    chosen = recipe.load("digits/quick", ["epochs=2.5", "batch_size=8"])
    assert estimate(chosen, DIGITS, CPU).steps == 25


def test_a_last_batch_counts_as_it_is():
    """Two epochs of 80 images in batches of 32, 32 and 16, and two batches of a third epoch."""
    chosen = recipe.load("digits/quick", ["epochs=2.5", "batch_size=32", "drop_last=false"])
    costs = estimate(chosen, DIGITS, CPU)
    assert costs.steps == 8
    assert costs.train_flops == 3 * costs.flops_per_image * (2 * 80 + 2 * 32)


def test_a_linear_probe_has_the_backward_pass_of_the_last_layer():
    costs = estimate(recipe.load("digits/quick", ["techniques.linear_probe={}", "batch_size=8"]), DIGITS, CPU)
    of_head = 2 * 256 * 10  # 64 channels of 2 x 2 pixels, and 10 classes
    assert costs.train_flops == (costs.flops_per_image + 2 * of_head) * 80 * 20


def test_images_are_counted_as_bytes_and_in_the_dtype():
    in_bytes = 100 * 64
    padded, epoch, tests = 80 * 100, 80 * 64, 20 * 64
    for precision, itemsize in (("float32", 4), ("half", 2), ("autocast", 2)):
        chosen = recipe.load("digits/quick", ["augment.crop=1", f"precision={precision}"])
        assert estimate(chosen, DIGITS, CUDA).data_bytes == in_bytes + (padded + epoch + tests) * itemsize


@pytest.mark.parametrize("loader", ["bulk", "torchvision"])
def test_training_images_in_host_memory_take_a_batch_of_the_device(loader):
    chosen = recipe.load("digits/quick", ["augment.crop=1", "batch_size=8", f"loader={{name: {loader}}}"])
    resident = recipe.load("digits/quick", ["augment.crop=1", "batch_size=8"])
    elsewhere = (80 - 8) * (64 + 4 * (100 + 64))
    assert estimate(resident, DIGITS, CUDA).data_bytes - estimate(chosen, DIGITS, CUDA).data_bytes == elsewhere


@pytest.mark.parametrize(
    ("loader", "kept"),
    [
        ("{name: bulk}", 4 * (100 + 64)),
        ("{name: torchvision, preprocess: once}", 4 * 100),
        ("{name: torchvision}", 0),
        ("{name: dali}", 100),
    ],
)
def test_in_host_memory_a_loader_keeps_its_own_form_of_the_images(loader, kept):
    """80 images of 64 bytes, of 100 when they are padded, in float32 when they are preprocessed."""
    chosen = recipe.load("digits/quick", ["augment.crop=1", "batch_size=8", f"loader={loader}"])
    a_batch = 0 if "bulk" in loader else 8 * 4 * 64
    assert estimate(chosen, DIGITS, CPU).data_bytes == 80 * (64 + kept) + a_batch + 20 * 64 * (1 + 4)


@pytest.mark.parametrize(
    ("overrides", "bytes_each"),
    [
        (["optimizer={name: sgd, lr: 0.1}"], 4 + 4 + 4),
        (["optimizer={name: adamw}"], 4 + 4 + 8),
        (["optimizer={name: adamw}", "techniques.ema={}"], 4 + 4 + 8 + 4),
        (["precision=half", "half_dtype=float16"], 2 + 2 + 2),
        (["precision=half", "loss.scaling=dynamic"], 2 + 4 + 4 + 4),  # a float32 master, its gradient and momentum
        (["precision=autocast"], 4 + 4 + 4),
    ],
)
def test_bytes_of_each_parameter(overrides, bytes_each):
    costs = estimate(recipe.load("digits/quick", overrides), DIGITS, CUDA)
    assert costs.weight_bytes == costs.parameters * bytes_each


def test_bytes_of_each_bfloat16_parameter_and_its_master():
    costs = estimate(recipe.load("digits/quick", ["precision=half", "half_dtype=bfloat16"]), DIGITS, CUDA)
    masters = 4 + 4 + 4  # themselves, their gradients, their momentum
    without, with_gradient = 2 + masters, 2 + masters + 2
    assert without <= costs.weight_bytes / costs.parameters <= with_gradient


def test_the_sum():
    costs = estimate(recipe.load("digits/quick"), DIGITS, CPU)
    assert costs.memory_bytes == costs.data_bytes + costs.weight_bytes + costs.activation_bytes


def test_number_formats_that_the_device_lacks_are_refused():
    with pytest.raises(ValueError, match="half_dtype=float16 on a CPU"):
        estimate(recipe.load("digits/quick", ["precision=half", "half_dtype=float16"]), DIGITS, CPU)


def test_small_images_are_counted_as_such():
    """80 images in batches of 8 are 10 steps an epoch: 10 at 24 pixels, 10 at 28, 5 at 32."""
    small = ["batch_size=8", "epochs=2.5", "precision=float32"]
    resolution = ["augment.resolution={epochs: [0, 1, 2], sizes: [24, 28, 32]}"]
    costs = estimate(recipe.load("cifar10/e1", [*small, *resolution]), CIFAR, CPU)
    at = {
        side: estimate(recipe.load("cifar10/e1", [*small, "augment.resolution=null"]), blank(80, 20, side, 3), CPU)
        for side in (24, 28, 32)
    }
    expected = 3 * 8 * (10 * at[24].flops_per_image + 10 * at[28].flops_per_image + 5 * at[32].flops_per_image)
    assert costs.train_flops == expected
    assert costs.flops_per_image == at[32].flops_per_image > at[28].flops_per_image > at[24].flops_per_image
