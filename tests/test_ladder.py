"""The ladder against the literature: what can be checked without training."""

import math

import pytest
import torch

from pipelines import recipe as recipes
from pipelines.data.sources import blank
from pipelines.estimate import estimate
from pipelines.optim.schedules import make_schedule
from results.literature import published

OURS = {name: figure for name, figure in published().items() if figure.is_ours}
LADDER = [name for name in recipes.names() if name.startswith("cifar10/ladder/")]
CPU = torch.device("cpu")


def float32(name: str) -> recipes.Recipe:
    """The recipe without what a CPU may not have."""
    return recipes.load(name, ["precision=float32"])


@pytest.mark.parametrize("name", sorted(OURS))
def test_epochs_are_the_published_ones(name):
    assert recipes.load(name).epochs == OURS[name].epochs


@pytest.mark.parametrize("name", [name for name, entry in OURS.items() if entry.petaflop])
def test_operations_are_the_published_ones(name):
    costs = estimate(float32(name), blank("cifar10"), CPU)
    assert costs.train_flops / 1e15 == pytest.approx(
        published()[name].petaflop, rel=0.06
    )  # they count the evaluations too


@pytest.mark.parametrize(
    ("name", "parameters", "megaflop", "steps"),
    [
        ("cifar10/ladder/20-davidnet-on-device", 6.573e6, 760, 24 * 97),
        ("cifar10/davidnet-10", 6.574e6, 760, 970),
        ("cifar10/airbench94", 1.973e6, 236, 476),
        ("cifar10/airbench94-muon", 1.973e6, 236, 200),
        ("cifar10/hlb", 4.336e6, 326, 581),
        ("cifar10/hiverge", 1.973e6, 236, 245),
        ("cifar10/e1", 1.973e6, 236, 284),
    ],
)
def test_size_of_the_networks(name, parameters, megaflop, steps):
    costs = estimate(float32(name), blank("cifar10"), CPU)
    assert costs.parameters == pytest.approx(parameters, rel=1e-3)
    assert costs.flops_per_image / 1e6 == pytest.approx(megaflop, rel=5e-3)
    assert costs.steps == steps


@pytest.mark.parametrize(
    ("rung", "page"),
    [
        ("cifar10/ladder/30-ten-epochs", "cifar10/davidnet-10"),
        ("cifar10/ladder/47-airnet-alternating-flip", "cifar10/airbench94"),
        ("cifar10/ladder/49-airnet-muon", "cifar10/airbench94-muon"),
        ("cifar10/ladder/58-airnet-hiverge", "cifar10/hiverge"),
        ("cifar10/ladder/64-e1-24-pixels", "cifar10/e1"),
    ],
)
def test_the_top_of_each_ladder_is_the_recipe_on_one_page(rung, page):
    assert recipes.load(rung).hash == recipes.load(page).hash


def test_steps_without_a_published_figure_are_those_of_hiverge_s_search():
    """It reports its changes together, as the last of them."""
    assert {name.removeprefix("cifar10/ladder/")[:2] for name in set(LADDER) - set(published())} == {
        "50", "51", "52", "53", "54", "55", "56", "57",
    }  # fmt: skip


@pytest.mark.parametrize("name", LADDER)
def test_every_rung_names_its_change(name):
    assert recipes.load(name).change


@pytest.mark.parametrize("name", LADDER)
def test_the_peak_of_the_schedule_is_within_the_training(name):
    recipe = recipes.load(name)
    assert recipe.schedule.epochs[-1] <= recipe.steps(50_000) / recipe.steps_per_epoch(50_000)
    assert max(recipe.schedule.values) == 1
    assert math.isclose(recipe.schedule.epochs[0], 0)


POSTS = [name for name in LADDER if name.split("/")[-1] < "21"]
"""posts 1 to 4 of "How to train your ResNet", up to the first rung of post 8"""
WORDS = {"title", "change", "source"}


def flat(settings, prefix=""):
    """Every option of a resolved recipe as dotted key: value."""
    if not isinstance(settings, dict):
        return {prefix: settings}
    return {key: value for name in settings for key, value in flat(settings[name], f"{prefix}.{name}").items()}


@pytest.mark.parametrize(
    ("rung", "changes"),
    [
        ("01-no-duplicate", {"model.duplicate_norm", "epochs", "schedule.epochs", "schedule.values"}),
        ("02-preprocess-once", {"loader.preprocess"}),
        ("03-choices-in-bulk", {"loader.choices"}),
        ("04-no-workers", {"loader.workers"}),
        ("05-batch-512", {"batch_size", "optimizer.lr", "schedule.values"}),
        ("06-norms-in-single", {"model.norm.half"}),
        ("07-cutout", {"augment.cutout", "epochs", "optimizer.lr", "schedule.epochs", "schedule.values"}),
        ("08-batch-768", {"batch_size", "optimizer.lr"}),
        ("09-davidnet", {"model", "batch_size", "optimizer.lr", "epochs", "schedule.epochs"}),
        ("10-davidnet-24-epochs", {"epochs", "schedule.epochs", "drop_last"}),
        (
            "20-davidnet-on-device",
            {"loader", "augment.draw", "optimizer.momentum_convention", "schedule.first_step"},
        ),
    ],
)
def test_a_rung_changes_what_it_names_and_nothing_else(rung, changes):
    name = f"cifar10/ladder/{rung}"
    below = recipes.load(POSTS[POSTS.index(name) - 1])
    before, after = (flat(recipe.model_dump(mode="json", exclude=WORDS)) for recipe in (below, recipes.load(name)))
    changed = {key.removeprefix(".") for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    groups = {change for change in changes if "." not in change and change in ("model", "loader")}
    assert {key.split(".")[0] if key.split(".")[0] in groups else key for key in changed} == changes


@pytest.mark.parametrize(
    ("rung", "rates", "batch_size", "steps"),
    [
        ("00-resnet18", {0: 0, 7.5: 0.05, 15: 0.1, 30: 0.005, 35: 0, 36: 0.0005, 40: 0.0005}, 128, 40 * 391),
        ("01-no-duplicate", {0: 0, 15: 0.1, 30: 0.005, 32.5: 0.0025, 35: 0}, 128, 35 * 391),
        ("04-no-workers", {0: 0, 15: 0.1, 30: 0.005, 35: 0}, 128, 35 * 391),
        ("05-batch-512", {0: 0, 15: 0.44, 30: 0.005, 35: 0}, 512, 35 * 98),
        ("06-norms-in-single", {0: 0, 15: 0.44, 30: 0.005, 35: 0}, 512, 35 * 98),
        ("07-cutout", {0: 0, 8: 0.4, 19: 0.2, 30: 0}, 512, 30 * 98),
        ("08-batch-768", {0: 0, 8: 0.6, 19: 0.3, 30: 0}, 768, 30 * 66),
        ("09-davidnet", {0: 0, 4: 0.4, 12: 0.2, 20: 0}, 512, 20 * 98),
        ("10-davidnet-24-epochs", {0: 0, 5: 0.4, 24: 0}, 512, 24 * 97),
        ("20-davidnet-on-device", {0: 0, 5: 0.4, 24: 0}, 512, 24 * 97),
    ],
)
def test_rates_decay_and_steps_of_posts_1_to_4(rung, rates, batch_size, steps):
    """experiments.ipynb and dawn.py of davidcpage/cifar10-fast; the first rung: basenet.json of bkj/basenet."""
    recipe = recipes.load(f"cifar10/ladder/{rung}")
    schedule = make_schedule(recipe)
    assert {epoch: recipe.optimizer.lr * schedule(epoch) for epoch in rates} == pytest.approx(rates, abs=1e-12)
    assert (recipe.optimizer.momentum, recipe.optimizer.nesterov, recipe.optimizer.weight_decay) == (0.9, True, 5e-4)
    assert recipe.batch_size == batch_size
    assert recipe.steps(50_000) == steps


def test_the_early_rungs_load_image_by_image():
    """What the later ones take away is there to be taken away."""
    loaders = [recipes.load(name).loader for name in POSTS]
    assert [loader.name for loader in loaders] == [*["torchvision"] * 11, "resident"]
    assert [loader.workers for loader in loaders[:-1]] == [16] * 4 + [0] * 7


def test_posts_1_to_4_get_faster():
    over = [name for name in POSTS if name != "cifar10/ladder/09-davidnet"]  # whose 20 epochs end below 94%
    seconds = [published()[name].seconds for name in over]
    assert seconds == sorted(seconds, reverse=True)
