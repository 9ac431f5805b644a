"""Whether a recipe, its data and the machine go together is checked before anything is built."""

from dataclasses import replace

import pytest

from pipelines import preflight, recipe
from pipelines.distributed.process_group import World
from pipelines.recipe.training import Augment
from pipelines.train import set_up

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
        ([], 3, "batch_size=64 cannot be shared equally by 3 processes; say batch_size=63"),
        (["batch_size=4", "drop_last=false"], 2, "last batch of 1 images, too few for 2 processes"),
        (["accumulation=5"], 1, "accumulation=5 does not divide the 64 images"),
        (["accumulation=64"], 2, "accumulation=64 does not divide the 32 images"),
        (["techniques.linear_probe={}"], 2, "techniques.linear_probe trains in one process, and there are 2"),
        (["techniques.self_training={}"], 1, "data.fraction leaves none: say data.fraction=0.1"),
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
    with pytest.raises(ValueError, match=r"augment\.resolution\.sizes=\[16, 32\]: .* images of 16 x 16 pixels; say"):
        preflight.image_sizes(recipe.load(name, [sizes]), coloured, World())


def test_an_augmentation_fits_the_shorter_side(digits):
    wide = replace(digits, train_images=digits.train_images[:, :, :6])
    fits = quick().model_copy(update={"augment": Augment(crop=5, cutout=6)})
    preflight.augmentation(fits, wide, World())
    with pytest.raises(ValueError, match=r"augment\.crop=6"):
        preflight.augmentation(fits.model_copy(update={"augment": Augment(crop=6)}), wide, World())


FSDP_FILE = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}
ZERO_2_FILE = {"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_ZERO_STAGE": "2"}


@pytest.mark.parametrize(
    ("variables", "overrides", "message"),
    [
        (FSDP_FILE, [], "add parallel.strategy=fsdp2 to the command"),
        (FSDP_FILE, [DEEPSPEED], "asks for parallel.strategy=fsdp2, and the recipe says parallel.strategy=deepspeed"),
        (ZERO_2_FILE, [], "add parallel.strategy=deepspeed parallel.zero_stage=2 to the command"),
        (ZERO_2_FILE, [FSDP2], "and the recipe says parallel.strategy=fsdp2"),
        (ZERO_2_FILE, [DEEPSPEED, "parallel.zero_stage=1"], "says parallel.strategy=deepspeed parallel.zero_stage=1"),
        (FSDP_FILE | {"FSDP_VERSION": "1"}, [FSDP2], "say fsdp_version: 2"),
    ],
)
def test_a_launch_file_that_asks_for_another_strategy_is_refused(monkeypatch, variables, overrides, message):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=message):
        preflight.launched_strategy(quick(*overrides), None, World())


@pytest.mark.parametrize(
    ("variables", "overrides"),
    [
        ({}, []),
        ({}, [FSDP2]),
        ({"ACCELERATE_USE_FSDP": "false"}, []),
        (FSDP_FILE, [FSDP2]),
        (ZERO_2_FILE, [DEEPSPEED, "parallel.zero_stage=2"]),
        ({"ACCELERATE_USE_DEEPSPEED": "true"}, [DEEPSPEED, "parallel.zero_stage=3"]),
    ],
)
def test_a_launch_file_that_fits_or_asks_for_nothing_is_not(monkeypatch, variables, overrides):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    preflight.launched_strategy(quick(*overrides), None, World())
