import json
import subprocess
import sys

import pytest
import yaml

from bench import recipes
from pipelines import recipe
from tests.bench.conftest import ROOT, environment


@pytest.fixture
def printed(capsys):
    def call(*arguments):
        assert recipes.main(list(arguments)) == 0
        captured = capsys.readouterr()
        assert captured.err == ""
        return captured.out

    return call


def test_the_list_has_every_recipe_with_its_title(printed):
    lines = dict(line.split(maxsplit=1) for line in printed("list").splitlines())
    assert lines == {name: recipe.title(name) for name in recipe.names()}


def test_a_pattern_lists_a_part(printed):
    objects = [json.loads(line) for line in printed("list", "digits/*", "--json").splitlines()]
    assert [one["name"] for one in objects] == ["digits/quick", "digits/short"]
    assert objects[0]["title"] == recipe.title("digits/quick")


def test_a_recipe_is_shown_as_a_file_that_is_the_same_recipe(printed):
    text = printed("show", "digits/quick", "epochs=3")
    chosen = recipe.load("digits/quick", ["epochs=3"])
    assert text.startswith(f"# digits/quick, recipe hash {chosen.hash}\n")
    assert recipe.validate(yaml.safe_load(text), "shown") == chosen


def test_a_recipe_as_json(printed):
    shown = json.loads(printed("show", "digits/quick", "--json"))
    chosen = recipe.load("digits/quick")
    assert (shown["name"], shown["hash"]) == ("digits/quick", chosen.hash)
    assert recipe.validate(shown["recipe"], "shown") == chosen


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "arguments are required"),
        (["describe"], "invalid choice: 'describe'"),
        (["show"], "show needs a recipe"),
        (["list", "epochs=3"], "list sets no options"),
        (["show", "digits/quick", "--fidelity"], "--fidelity goes with list"),
    ],
)
def test_wrong_use_is_refused(capsys, arguments, message):
    with pytest.raises(SystemExit) as leaving:
        recipes.main(arguments)
    assert leaving.value.code == 2
    assert message in capsys.readouterr().err


def test_an_unknown_recipe_is_refused(capsys):
    assert recipes.main(["list", "digits/quik"]) == 2
    assert "did you mean digits/quick" in capsys.readouterr().err


def test_fidelity_of_a_recipe(printed):
    name, source, compared, *rest = printed("list", "--fidelity", "cifar10/airbench94").splitlines()
    assert name == "cifar10/airbench94"
    assert source.startswith("  source: KellerJordan/cifar10-airbench")
    assert compared == "  compared: 12 steps to 1e-12 in float64, held by tests/fidelity/test_airbench.py"
    assert any(line.startswith("  differs: ") and "(cost: " in line for line in rest)


def test_fidelity_of_every_recipe_that_names_a_source(printed):
    objects = [json.loads(line) for line in printed("list", "--fidelity", "--json").splitlines()]
    assert {one["name"] for one in objects} == {name for name in recipe.names() if recipe.load(name).source}
    assert all(one["source"] and one["compared"] for one in objects)


def test_fidelity_of_a_recipe_without_a_source_is_refused(capsys):
    assert recipes.main(["list", "--fidelity", "digits/quick"]) == 2
    assert "digits/quick: the recipe names no source" in capsys.readouterr().err


def test_the_list_does_not_wait_for_torch():
    command = [sys.executable, "-X", "importtime", str(ROOT / "bench" / "recipes.py"), "list"]
    ended = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)
    modules = {line.rpartition("|")[2].strip() for line in ended.stderr.splitlines()}
    assert "pipelines.recipe.schema" in modules
    assert modules.isdisjoint({"torch", "accelerate", "sklearn", "torchvision"})
