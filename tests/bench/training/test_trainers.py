"""What a trainer of a recipe says of its trials."""

from pathlib import Path

import pytest

from bench.training.trainers import RecipeTrainer
from pipelines import recipe
from pipelines.distributed.process_group import World

HELD_OUT = "data.validation=0.2"


@pytest.mark.parametrize(
    ("overrides", "is_known"),
    [([], True), (["techniques.early_stopping={}"], False), (["techniques.distillation={}"], False)],
)
def test_the_operations_of_some_trainings_are_not_known_before_them(overrides, is_known):
    chosen = recipe.load("digits/quick", [HELD_OUT, *overrides])
    trainer = RecipeTrainer(chosen, Path(), World(), smoke_test=False, track=False)
    assert (trainer.train_flops() is not None) == is_known
