"""Whether a recipe, its data and the machine go together is checked before anything is built."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from kernels.cpu import build, fused
from pipelines import preflight, recipe
from pipelines.distributed.process_group import World
from pipelines.recipe.training import Augment
from pipelines.train import set_up
from tests.kernels.cpu.chains import needs_kernels

FSDP2 = "parallel.strategy=fsdp2"
DEEPSPEED = "parallel.strategy=deepspeed"


def quick(*overrides):
    return recipe.load("digits/quick", list(overrides))


def test_a_recipe_that_fits_passes(digits):
    preflight.check(quick(), digits, World())
    preflight.check(quick(), digits, World(1, 2))


@pytest.mark.parametrize(
    ("overrides", "size", "message"),
    [
        (["batch_size=2000"], 1, "batch_size=2000 is more than the 1437 training images"),
        ([], 3, "batch_size=64 cannot be shared equally by 3 processes; set batch_size=63"),
        (["batch_size=4", "drop_last=false"], 2, "last batch of 1 images, too few for 2 processes"),
        (["techniques.self_training={}"], 1, "data.fraction leaves none: set data.fraction=0.1"),
        (["augment.crop=8"], 1, r"augment\.crop=8 .* an image of 8 pixels .*: give less"),
        (["augment.cutout=9"], 1, r"augment\.cutout=9 is more than the 8 pixels"),
        (["data.class_weights=[1, 2]"], 1, "data.class_weights has 2 numbers, but there are 10 classes"),
        (["precision=half", "half_dtype=float16"], 1, "half_dtype=float16 on a CPU"),
        (["model={name: davidnet}"], 1, "davidnet takes images of 32 x 32 pixels, not 8 x 8"),
        (["model.widths=[4,4,4,4]", "model.pool_after=each"], 1, "leaves nothing of 8 x 8 images"),
    ],
)
def test_what_does_not_fit_is_refused_with_a_remedy(digits, overrides, size, message):
    with pytest.raises(ValueError, match=message):
        set_up(quick(*overrides), digits, World(0, size))


@pytest.mark.parametrize("name", ["cifar10/airbench94", "cifar10/davidnet-10", "mnist/base"])
def test_every_size_of_the_images_must_pass_through_the_network(name, coloured):
    sizes = "augment.resolution={epochs: [0, 1], sizes: [16, 32]}"
    preflight.image_sizes(recipe.load(name), coloured, World())
    with pytest.raises(ValueError, match=r"augment\.resolution\.sizes=\[16, 32\]: .* images of 16 x 16 pixels; use"):
        preflight.image_sizes(recipe.load(name, [sizes]), coloured, World())


@pytest.mark.parametrize(
    ("name", "override", "side"),
    [
        ("cifar10/airbench94", "model.depth=2", 64),
        ("cifar10/airbench94", "model.whitening.kernel_size=7", 28),
        ("cifar10/davidnet-10", "model.whitening.padding=0", 32),
    ],
)
def test_the_images_themselves_must_pass_through_the_network(name, override, side, coloured):
    images = replace(coloured, train_images=np.zeros((1, side, side, 3), np.uint8))
    message = f"data.name=cifar10: model.name=.* does not take images of {side} x {side} pixels; use another size, or"
    with pytest.raises(ValueError, match=message):
        preflight.image_sizes(recipe.load(name, [override]), images, World())
    if "airbench" in name:
        preflight.image_sizes(recipe.load(name, [override, "model.global_pool=true"]), images, World())


@pytest.mark.parametrize(
    ("technique", "option"),
    [
        ("batch_selection={proxy: {name: airnet}}", "batch_selection.proxy"),
        ("distillation={teacher: {name: airnet}}", "distillation.teacher"),
    ],
)
def test_other_networks_that_see_the_images_must_take_them_too(technique, option, coloured):
    images = replace(coloured, train_images=np.zeros((1, 64, 64, 3), np.uint8))
    chosen = recipe.load("digits/quick", ["data.name=cifar10", f"techniques.{technique}"])
    with pytest.raises(ValueError, match=f"techniques.{option}.name=airnet does not take images of 64 x 64 pixels"):
        preflight.image_sizes(chosen, images, World())


@pytest.mark.parametrize(
    ("augment", "message"),
    [
        (
            "resolution: {epochs: [0], sizes: [8], crops: [9]}",
            r"augment\.resolution\.crops=\[9\]: an image has 8 pixels a side",
        ),
        (
            "cutout: 6, resolution: {epochs: [0], sizes: [8], crops: [5]}",
            r"augment\.cutout=6 is more than the 5 pixels of an image",
        ),
    ],
)
def test_crops_lie_in_the_image_and_the_cutout_in_the_crops(digits, augment, message):
    with pytest.raises(ValueError, match=message):
        preflight.augmentation(quick(f"augment={{{augment}}}"), digits, World())


@pytest.mark.parametrize(
    ("technique", "message"),
    [
        ("fixmatch={strong: {crop: 8}}", r"techniques\.fixmatch\.strong\.crop=8 .* an image of 8 pixels .*: give less"),
        ("fixmatch={weak: {cutout: 9}, strong: {}}", r"techniques\.fixmatch\.weak\.cutout=9 is more than the 8 pixels"),
        ("pretrained={views: {crop: 9}}", r"techniques\.pretrained\.views\.crop=9 reflects more"),
    ],
)
def test_the_views_of_a_technique_fit_the_images(digits, technique, message):
    with pytest.raises(ValueError, match=message):
        preflight.augmentation(quick(f"techniques.{technique}"), digits, World())


def test_an_augmentation_fits_the_shorter_side(digits):
    wide = replace(digits, train_images=digits.train_images[:, :, :6])
    fits = quick().model_copy(update={"augment": Augment(crop=5, cutout=6)})
    preflight.augmentation(fits, wide, World())
    with pytest.raises(ValueError, match=r"augment\.crop=6"):
        preflight.augmentation(fits.model_copy(update={"augment": Augment(crop=6)}), wide, World())


@pytest.mark.parametrize("has_bfloat16", [True, False])
@pytest.mark.parametrize("precision", ["autocast", "float32"])
def test_a_cpu_that_emulates_bfloat16_is_warned_of(monkeypatch, recwarn, precision, has_bfloat16):
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: has_bfloat16)
    preflight.device_formats(quick(f"precision={precision}"), None, World())
    expected = ["this CPU has no bfloat16 and emulates it slowly: set precision=float32"]
    found = [str(one.message) for one in recwarn]
    assert found == (expected if precision == "autocast" and not has_bfloat16 else [])


EMULATES = "this CPU has no bfloat16 and emulates it slowly: "
BUILD = "run `python -m kernels.cpu.build`, or "


def in_color(dataset):
    """The same, with images of the shape of CIFAR-10's."""
    images = np.zeros((len(dataset.train_images), 32, 32, 3), np.uint8)
    return replace(dataset, train_images=images, test_images=images[: len(dataset.test_images)])


@pytest.fixture
def warnings_without_bfloat16(monkeypatch, recwarn):
    """What a recipe is warned of on a CPU without bfloat16."""
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)

    def of(name, options, dataset):
        preflight.device_formats(recipe.load(name, options), dataset, World())
        return [str(one.message) for one in recwarn]

    return of


@pytest.mark.parametrize(
    ("name", "is_possible", "remedy"),
    [("cifar10/e1", True, BUILD), ("cifar10/e1", False, ""), ("digits/quick", True, "")],
)
def test_half_without_bfloat16_and_without_the_kernels(
    digits, warnings_without_bfloat16, monkeypatch, name, is_possible, remedy
):
    monkeypatch.setattr(fused, "extension", lambda: None)
    monkeypatch.setattr(build, "is_possible", lambda: is_possible)
    dataset = in_color(digits) if name == "cifar10/e1" else digits
    found = warnings_without_bfloat16(name, ["precision=half"], dataset)
    assert found == [f"{EMULATES}{remedy}set precision=float32"]


@needs_kernels
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("cifar10/e1", ["kernels=reference"]),
        ("cifar10/e1", ["compile=true"]),
        ("cifar10/e1", ["batch_size=32", "accumulation=2"]),
        ("digits/quick", ["precision=half"]),
    ],
)
def test_half_without_bfloat16_where_the_kernels_do_not_run(digits, warnings_without_bfloat16, name, options):
    dataset = in_color(digits) if name == "cifar10/e1" else digits
    found = warnings_without_bfloat16(name, ["kernels=fast", *options], dataset)
    assert found == [f"{EMULATES}set precision=float32"]


@needs_kernels
def test_half_without_bfloat16_is_not_emulated_where_the_kernels_run(digits, warnings_without_bfloat16):
    assert warnings_without_bfloat16("cifar10/e1", ["kernels=fast"], in_color(digits)) == []


FSDP_FILE = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}
RESHARD = "FSDP_RESHARD_AFTER_FORWARD"
ZERO_2_FILE = {"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_ZERO_STAGE": "2"}
ZERO_2 = "parallel.zero_stage=2"
ACCUMULATION = {"ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "4"}
CLIPPING = {"ACCELERATE_GRADIENT_CLIPPING": "0.5"}
OFFLOAD = {"ACCELERATE_DEEPSPEED_OFFLOAD_OPTIMIZER_DEVICE": "cpu"}
MIXED_PRECISION = "ACCELERATE_MIXED_PRECISION"
BF16, FP16 = {MIXED_PRECISION: "bf16"}, {MIXED_PRECISION: "fp16"}
INDUCTOR = {"ACCELERATE_DYNAMO_BACKEND": "INDUCTOR", "ACCELERATE_DYNAMO_MODE": "max-autotune"}
PLAIN = {
    MIXED_PRECISION: "no",
    "ACCELERATE_DYNAMO_BACKEND": "NO",
    "ACCELERATE_DYNAMO_MODE": "default",
    "ACCELERATE_DYNAMO_USE_DYNAMIC": "False",
    "ACCELERATE_DYNAMO_USE_FULLGRAPH": "False",
    "ACCELERATE_DYNAMO_USE_REGIONAL_COMPILATION": "False",
    "ACCELERATE_USE_CPU": "False",
}
"""what `accelerate launch` sets when it is asked for nothing"""


@pytest.mark.parametrize(
    ("variables", "overrides", "message"),
    [
        (FSDP_FILE, [], "add parallel.strategy=fsdp2 to the command"),
        (FSDP_FILE, [DEEPSPEED], "asks for parallel.strategy=fsdp2, and the recipe says parallel.strategy=deepspeed"),
        (ZERO_2_FILE, [], "add parallel.strategy=deepspeed parallel.zero_stage=2 to the command"),
        (ZERO_2_FILE, [FSDP2], "and the recipe says parallel.strategy=fsdp2"),
        (ZERO_2_FILE, [DEEPSPEED, "parallel.zero_stage=1"], "says parallel.strategy=deepspeed parallel.zero_stage=1"),
        (FSDP_FILE | {"FSDP_VERSION": "1"}, [FSDP2], "set fsdp_version: 2"),
        (FSDP_FILE | {RESHARD: "false"}, [FSDP2], "fsdp_reshard_after_forward: false, and .*: set it to true"),
        (FSDP_FILE | {RESHARD: "shard_grad_op"}, [FSDP2], "fsdp_reshard_after_forward: shard_grad_op, and Paceline"),
        (ZERO_2_FILE | ACCUMULATION, [DEEPSPEED, ZERO_2], "accumulation=1: add .* accumulation=4 to"),
        (ZERO_2_FILE | CLIPPING, [DEEPSPEED, ZERO_2], "asks for gradient_clipping under DeepSpeed, which"),
        (BF16, [], "asks for precision=autocast, and the recipe says precision=float32: add precision=autocast"),
        (FP16, [], "add precision=half half_dtype=float16 to the command"),
        (FP16, ["precision=half"], "the recipe says precision=half half_dtype=bfloat16"),
        ({MIXED_PRECISION: "fp8"}, [], "mixed_precision fp8, which Paceline does not have: .* set precision=autocast"),
        (INDUCTOR, [], "asks for compile=true compile_mode=max-autotune, and the recipe says compile=false"),
        (INDUCTOR, ["compile=auto", "compile_mode=max-autotune"], "and the recipe says compile=false"),
        (INDUCTOR | {"ACCELERATE_DYNAMO_BACKEND": "AOT_EAGER"}, [], "dynamo_backend AOT_EAGER, and Paceline compiles"),
        (INDUCTOR | {"ACCELERATE_DYNAMO_USE_DYNAMIC": "True"}, [], "asks for dynamo_use_dynamic, which Paceline does"),
        (ZERO_2_FILE | OFFLOAD, [DEEPSPEED, ZERO_2], "asks for offload_optimizer_device, which Paceline does not have"),
    ],
)
def test_a_launch_that_asks_for_something_else_is_refused(monkeypatch, variables, overrides, message):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=message):
        preflight.launch_options(quick(*overrides), None, World())


@pytest.mark.parametrize(
    ("variables", "overrides"),
    [
        ({}, []),
        ({}, [FSDP2]),
        ({"ACCELERATE_USE_FSDP": "false"}, []),
        (FSDP_FILE, [FSDP2]),
        (FSDP_FILE | {RESHARD: "true"}, [FSDP2]),
        (ZERO_2_FILE, [DEEPSPEED, "parallel.zero_stage=2"]),
        ({"ACCELERATE_USE_DEEPSPEED": "true"}, [DEEPSPEED, "parallel.zero_stage=3"]),
        (PLAIN, ["precision=autocast", "compile=true", "accumulation=4"]),
        (BF16, ["precision=autocast"]),
        (INDUCTOR, ["compile=true", "compile_mode=max-autotune"]),
        (ZERO_2_FILE | ACCUMULATION, [DEEPSPEED, ZERO_2, "accumulation=4"]),
        (ZERO_2_FILE | {"ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "auto"}, [DEEPSPEED, ZERO_2, "accumulation=4"]),
    ],
)
def test_a_launch_file_that_fits_or_asks_for_nothing_is_not(monkeypatch, variables, overrides):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    preflight.launch_options(quick(*overrides), None, World())


@pytest.mark.parametrize("overrides", [["precision=half"], ["compile=auto", "compile_mode=max-autotune"]])
def test_auto_is_what_it_is_on_the_device(monkeypatch, overrides):
    for name, value in (INDUCTOR if "compile=auto" in overrides else FP16).items():
        monkeypatch.setenv(name, value)
    preflight.launch_options(quick(*overrides), None, World(device=torch.device("cuda")))


def test_power_sgd_on_a_cpu_has_one_bucket(digits):
    chosen = recipe.load("digits/quick", ["parallel.compression=power_sgd", "parallel.bucket_mb=4"])
    with pytest.raises(ValueError, match="parallel.bucket_mb=4 does nothing under .* on a CPU"):
        preflight.check(chosen, digits, World())
    preflight.buckets(chosen, digits, World(device=torch.device("cuda")))
