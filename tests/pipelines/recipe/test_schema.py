import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import recipe
from pipelines.recipe import Recipe
from pipelines.recipe.config import configs_in, documented

QUICK = recipe.load("digits/quick")
SETTINGS = recipe.files.read("digits/quick")
TITLES = st.text(max_size=100)


def changed(overrides):
    return recipe.load("digits/quick", overrides)


def reordered(settings):
    """The same with all keys the other way round."""
    if not isinstance(settings, dict):
        return settings
    return {key: reordered(value) for key, value in reversed(settings.items())}


def test_the_hash_of_digits_quick():
    """When this fails, a default or a meaning has changed: raise HASH_VERSION and write the new hash here."""
    assert QUICK.hash == "7e6dab3fd69b"


@given(TITLES, st.none() | st.text())
def test_words_about_a_recipe_do_not_change_its_hash(title, source):
    assert QUICK.model_copy(update={"title": title, "source": source}).hash == QUICK.hash


def test_the_order_of_keys_does_not_change_the_hash():
    assert list(reordered(SETTINGS)) != list(SETTINGS)
    assert recipe.validate(reordered(SETTINGS), "reordered").hash == QUICK.hash


def test_defaults_may_be_written_out():
    written_out = json.loads(QUICK.model_dump_json())
    assert len(written_out) > len(SETTINGS)
    assert recipe.validate(written_out, "written out").hash == QUICK.hash
    explicit = [
        "drop_last=true",
        "augment.cutout=0",
        "schedule.name=piecewise_linear",
        "techniques={}",
        "techniques.ema=null",
    ]
    assert changed(explicit).hash == QUICK.hash


def test_ten_and_ten_point_nought_are_the_same():
    assert changed(["epochs=10"]).hash == changed(["epochs=10.0"]).hash == changed(["epochs=1e1"]).hash
    assert changed(["schedule.values=[0, 1, 0]"]).hash == changed(["schedule.values=[0.0, 1.0, 0.0]"]).hash


@pytest.mark.parametrize(
    "override",
    [
        "data.fraction=0.5",
        "data.split_seed=1",
        "data.limit=100",
        "target=0.96",
        "epochs=21",
        "batch_size=65",
        "drop_last=false",
        "augment.crop=2",
        "augment.flip=random",
        "augment.draw=even",
        "augment.cutout=1",
        "loader={name: bulk}",
        "loader={name: torchvision}",
        "augment.brightness=0.1",
        "augment.contrast=0.1",
        "augment.resolution={epochs: [0, 1], sizes: [6, 8]}",
        "model.widths=[32,65]",
        "model.kernel_size=5",
        "model.dropout.input=0.1",
        "model.dropout.blocks=0.1",
        "model.dropout.head=0.1",
        "model.drop_connect=0.1",
        "model.norm={}",
        "model.activation.name=elu",
        "model.activation={name: elu, alpha: 0.5}",
        "model.activation={name: leaky_relu, slope: 0.5}",
        "model.pool.name=average",
        "model.pool={name: fractional, ratio: 0.8}",
        "initialization.gain=2",
        "initialization.head_gain=2",
        "initialization.head=orthogonal",
        "initialization={convolutions: normal, std: 1}",
        "initialization={convolutions: constant, value: 0}",
        "channels_last=false",
        "precision=autocast",
        "compile=true",
        "loss.label_smoothing=0.1",
        "loss.reduction=sum",
        "optimizer.lr=0.11",
        "optimizer.momentum=0.8",
        "optimizer.nesterov=false",
        "optimizer.momentum_convention=sutskever",
        "optimizer.weight_decay=0",
        "optimizer.bias_lr_factor=2",
        "optimizer.bias_weight_decay_factor=2",
        "optimizer={name: adamw}",
        "optimizer={name: adam}",
        "optimizer.depth_lr_factor=0.9",
        "optimizer.depth_weight_decay_factor=0.9",
        "schedule.epochs=[0,5,20]",
        "schedule.values=[0.2,1,0]",
        "schedule={name: constant}",
        "schedule.first_step=1",
        "schedule.warm_up=1",
        "schedule.warm_up_start=0.1",
        "schedule.period=20",
        "evaluation.tta=flip",
        "evaluation.every=2",
        "evaluation.train_accuracy=true",
        "evaluation.batch_size=999",
        "techniques.ema={}",
        "techniques.ema={per_epoch: true}",
        "techniques.reduce_on_plateau={}",
    ],
)
def test_every_option_changes_the_hash(override):
    assert changed([override]).hash != QUICK.hash


def test_the_options_of_half_precision_change_the_hash():
    options = ["half_dtype=bfloat16", "model.norm={half: true}", "model.norm={}"]
    hashes = {changed(["precision=half", *option]).hash for option in ([], *([one] for one in options))}
    assert len(hashes) == 1 + len(options)


KNOBS = st.fixed_dictionaries(
    {
        "epochs": st.floats(0.1, 100),
        "batch_size": st.integers(1, 1000),
        "optimizer.lr": st.floats(1e-6, 10),
        "augment.flip": st.sampled_from(["none", "random", "alternating"]),
        "techniques.ema": st.sampled_from(["null", "{}", "{momentum: 0.5}", "{every: 1}"]),
    }
)


@given(KNOBS, KNOBS)
def test_recipes_have_the_same_hash_when_and_only_when_they_are_the_same(one, other):
    first, second = (changed([f"{key}={value}" for key, value in config.items()]) for config in (one, other))
    assert (first.hash == second.hash) == (one == other)
    assert len(first.hash) == 12


@given(KNOBS)
def test_a_recipe_survives_being_written_and_read(config):
    chosen = changed([f"{key}={value}" for key, value in config.items()])
    again = recipe.validate(json.loads(chosen.model_dump_json()), "again")
    assert again == chosen
    assert again.hash == chosen.hash


def test_every_option_is_documented():
    undocumented = [key for key, field in documented(Recipe) if not field.description]
    assert undocumented == []
    assert {"optimizer.lr", "model.widths", "techniques.ema.momentum"} <= {key for key, _ in documented(Recipe)}


def test_every_group_of_options_is_documented():
    groups = {group for _, field in documented(Recipe) for group in configs_in(field.annotation)}
    assert len(groups) > 10
    assert all(group.__doc__ for group in groups)


def test_a_recipe_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        QUICK.epochs = 3


@pytest.mark.parametrize(
    ("epochs", "images", "batch_size", "drop_last", "steps"),
    [
        (10, 50_000, 512, True, 970),
        (10, 50_000, 512, False, 980),
        (9.9, 48 * 64, 64, True, 476),
        (0.5, 1000, 100, True, 5),
        (0.01, 1000, 100, True, 1),
        (1, 100, 100, True, 1),
        (1, 99, 100, False, 1),
    ],
)
def test_steps(epochs, images, batch_size, drop_last, steps):
    chosen = changed([f"epochs={epochs}", f"batch_size={batch_size}", f"drop_last={str(drop_last).lower()}"])
    assert chosen.steps(images) == steps


@pytest.mark.parametrize(("epochs", "steps"), [(1.1, 110), (2.2, 220), (8.3, 830), (0.07, 7)])
def test_rounding_adds_no_step(epochs, steps):
    """1.1 * 100 is 110.00000000000001 in floating point."""
    assert changed([f"epochs={epochs}", "batch_size=10"]).steps(1000) == steps


def test_a_batch_that_is_never_full_is_refused_naming_the_options():
    with pytest.raises(
        ValueError,
        match=r"batch_size=64 is more than the 63 training images.*batch_size=63 or less, or drop_last=false",
    ):
        QUICK.steps(63)
    assert changed(["drop_last=false"]).steps_per_epoch(63) == 1


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["loss.reduction=sum", "optimizer={name: adamw}"],
            "loss.reduction=sum does nothing under optimizer.name=adamw",
        ),
        (
            ["optimizer.momentum=0", "optimizer.nesterov=false", "optimizer.momentum_convention=sutskever"],
            "momentum_convention=sutskever needs a momentum above 0",
        ),
        (["loader={name: torchvision}", "augment.draw=even"], "augment.draw=even is not drawn image by image"),
        (
            ["compile=true", "compile_mode=reduce-overhead", "accumulation=4"],
            "accumulation=4 adds up the gradients of several batches, and under compile_mode=reduce-overhead",
        ),
        (
            ["compile=auto", "compile_mode=max-autotune", "techniques.growing_batch={epochs: [1], batches: [2]}"],
            "techniques.growing_batch adds up the gradients of several batches",
        ),
        (["half_dtype=float16"], "half_dtype=float16 does nothing under precision=float32: set precision=half"),
        (["precision=autocast", "half_dtype=bfloat16"], "half_dtype=bfloat16 does nothing under precision=autocast"),
        (
            ["model.norm={half: true}"],
            r"model\.norm\.half=true does nothing under precision=float32: set precision=half",
        ),
        (
            ["evaluation.tta_share=0.5"],
            "tta_share=0.5 does nothing without test-time augmentation: set evaluation.tta=flip",
        ),
        *(
            (
                ["target=null", "evaluation.every=null", f"evaluation.{option}={value}"],
                f"evaluation.{option} does nothing without an",
            )
            for option, value in (("tta", "flip"), ("train_accuracy", "true"), ("per_class", "true"))
        ),
        (["augment.resolution={epochs: [0, 3], sizes: [6]}"], "2 epochs but 1 sizes: give one size per epoch"),
        (["augment.resolution={epochs: [0], sizes: [6], crops: [6, 8]}"], "1 sizes but 2 crops: give one crop"),
        (["augment.resolution={epochs: [1, 3], sizes: [6, 8]}"], "epochs must begin with 0 and rise"),
        (["augment.resolution={epochs: [0, 3, 3], sizes: [6, 7, 8]}"], "epochs must begin with 0 and rise"),
    ],
)
def test_options_that_do_not_go_together(overrides, message):
    with pytest.raises(recipe.RecipeError, match=message) as caught:
        changed(overrides)
    assert len(str(caught.value).splitlines()) == 1


def test_nesterov_without_momentum_is_refused_before_the_training():
    """torch refuses it too, but only when the optimizer is made, within a trial."""
    with pytest.raises(recipe.RecipeError, match="nesterov"):
        changed(["optimizer.momentum=0"])
    assert changed(["optimizer.momentum=0", "optimizer.nesterov=false"]).optimizer.momentum == 0


def test_the_size_of_each_epoch_of_e1():
    resolution = recipe.load("cifar10/e1").augment.resolution
    assert [resolution.size(epoch) for epoch in range(9)] == [24, 24, 24, 28, 28, 28, 32, 32, 32]


def test_a_new_name_of_an_option_does_not_change_the_hash():
    """These are the hashes of records from before `parallel.engine` and `parallel.exchange` were renamed."""
    assert recipe.load("digits/quick", ["parallel.strategy=fsdp2"]).hash == "4f5c2b7a6425"
    assert recipe.load("digits/quick", ["parallel.sync_gradients=false"]).hash == "4945e2cf4d9f"
