"""Every recipe under configs/ can be loaded, listed and built."""

import pytest
import torch

from pipelines import models, recipe
from pipelines.data import sources
from pipelines.optim.optimizers import lr_factors
from pipelines.optim.schedules import make_schedule
from pipelines.techniques import make_techniques
from pipelines.techniques.ema import update_steps

shipped = pytest.mark.parametrize("name", recipe.names())


def test_the_recipes_that_the_documentation_speaks_of_are_there():
    assert {"digits/quick", "cifar10/davidnet-10", "mnist/base"} <= set(recipe.names())


@shipped
def test_a_recipe_lies_in_the_folder_of_its_data_set(name):
    chosen = recipe.load(name)
    assert name.split("/")[0] == ("throughput" if chosen.target is None else chosen.data.name)


@shipped
def test_a_title_fits_its_line(name):
    title = recipe.title(name)
    assert title == recipe.load(name).title
    assert 10 <= len(title) <= 100
    assert len(title.splitlines()) == 1
    assert title == title.strip()
    assert len(name) <= 44


@shipped
def test_a_recipe_builds(name):
    chosen = recipe.load(name)
    with torch.device("meta"):
        dataset = sources.blank_of(chosen.data)
        network = models.build_network(chosen.model, dataset.image_shape, len(dataset.class_names))
        dtype = torch.int64 if dataset.is_tokens else torch.float32
        logits = network(torch.empty(chosen.batch_size, *dataset.image_shape, dtype=dtype))
    *samples, classes = logits.shape
    assert samples == [chosen.batch_size, *dataset.train_labels.shape[1:]]
    assert classes == getattr(chosen.model, "vocabulary", len(dataset.class_names))


@shipped
def test_a_recipe_s_steps_have_learning_rates(name):
    chosen = recipe.load(name)
    images = round(len(sources.blank_of(chosen.data).train_images) * chosen.data.fraction)
    steps = chosen.steps(images)
    factors = lr_factors(make_schedule(chosen), steps, chosen.steps_per_epoch(images))
    assert len(factors) == steps > 0
    assert max(factors) == pytest.approx(1, rel=0.05), "optimizer.lr is the rate where the schedule is 1"


@shipped
def test_a_recipe_s_average_has_left_the_initial_weights(name):
    chosen = recipe.load(name)
    if ema := chosen.techniques.ema:
        steps, per_epoch = chosen.steps(50_000), chosen.steps_per_epoch(50_000)
        updates = update_steps(steps, per_epoch, ema.every, per_epoch=ema.per_epoch)
        assert ema.momentum ** (ema.every * len(updates)) < 0.001


@shipped
def test_a_recipe_s_techniques_can_be_made(name):
    chosen = recipe.load(name)
    wanted = [value for value in dict(chosen.techniques).values() if value is not None]
    assert len(make_techniques(chosen)) == len(wanted)


@shipped
def test_a_crop_reflects_no_more_than_the_image_has(name):
    chosen = recipe.load(name)
    side = min(sources.blank_of(chosen.data).image_shape[1:], default=1)
    assert chosen.augment.crop < side
    assert chosen.augment.cutout <= side


def test_no_two_recipes_are_the_same():
    """But for the ladder's highest rungs, which stand on one page as well."""
    by_hash = {}
    for name in recipe.names():
        by_hash.setdefault((recipe.load(name).hash, "/ladder/" in name), []).append(name)
    assert [names for names in by_hash.values() if len(names) > 1] == []


@pytest.mark.parametrize("name", ["airbench94-muon", "hiverge", "e1", "airbench95", "airbench96", "airbench96-faster"])
def test_recipes_whose_sources_compile_do_so_on_a_gpu(name):
    assert recipe.load(f"cifar10/{name}").compile == "auto"
