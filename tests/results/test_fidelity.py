from collections import Counter
from pathlib import Path

import pytest
from pydantic import ValidationError

from pipelines import recipe as recipes
from results.fidelity import Fidelity, fidelity, statements

ROOT = Path(__file__).parents[2]


WITH_SOURCE = [name for name in recipes.names() if recipes.load(name).source]


@pytest.mark.parametrize("name", WITH_SOURCE)
def test_a_recipe_that_names_a_source_says_how_near_it_is(name):
    assert fidelity(name) is not None


def test_a_recipe_without_a_source_has_no_statement():
    assert {name for name in recipes.names() if fidelity(name)} <= set(WITH_SOURCE)


@pytest.mark.parametrize("statement", statements(), ids=lambda statement: statement.recipes[0])
def test_a_statement_is_about_recipes_that_are_there_and_held_by_a_test_that_is_there(statement):
    assert any(fidelity(name) == statement for name in recipes.names())
    assert {name for name in statement.recipes if "*" not in name and "?" not in name} <= set(recipes.names())
    assert statement.test is None or (ROOT / statement.test).is_file()


def test_no_recipe_is_named_twice():
    named = Counter(name for statement in statements() for name in statement.recipes)
    assert max(named.values()) == 1


def test_the_exact_name_wins_over_a_pattern():
    assert fidelity("cifar10/ladder/58-airnet-hiverge").compared == "trajectory"
    assert fidelity("cifar10/ladder/57-airnet-muon-rates").compared == "nothing"


def test_a_statement_says_how_far_they_agree():
    assert fidelity("cifar10/airbench94").agreement == "12 steps to 1e-12 in float64"
    assert fidelity("cifar10/ddp/lars").agreement == "not compared"
    assert fidelity("digits/quick") is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"compared": "trajectory", "test": "tests/x.py"},
        {"compared": "learning rates"},
        {"compared": "nothing", "test": "tests/x.py"},
        {"compared": "nothing", "steps": 3},
    ],
)
def test_a_statement_without_what_it_needs_is_refused(wrong):
    with pytest.raises(ValidationError):
        Fidelity.model_validate({"recipes": ["a"], "source": "b"} | wrong)
