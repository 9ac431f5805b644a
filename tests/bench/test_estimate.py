import io
import json
import re
from functools import partial
from pathlib import Path

import pytest
from rich.console import Console

from bench import estimate
from pipelines import recipe
from pipelines.recipe import Recipe, yaml_reader
from results import store
from tests.results import builders


@pytest.fixture
def main(call):
    """`bench/estimate.py …` in this process, for a CPU."""
    return partial(call, estimate, "--device", "cpu")


def row(text, label):
    """The value beside a label of the table."""
    return re.search(rf"│ {label} +│ (.*?) +│", text)[1]


def test_davidnet_costs_what_its_publication_says(main, tmp_path):
    ended = main("cifar10/davidnet-10")
    assert (ended.status, ended.err) == (0, "")
    assert re.fullmatch(r"6,57\d,\d{3}", row(ended.out, "parameters"))
    assert row(ended.out, "forward pass") == "760.0 MFLOP per image"
    assert row(ended.out, "steps") == "970"
    assert row(ended.out, "training") == "1,132 TFLOP per trial"
    assert list(tmp_path.iterdir()) == [], "nothing is downloaded or recorded"


def test_the_costs_of_a_small_recipe_are_no_zeros(main):
    ended = main("digits/short")
    assert row(ended.out, "training") == "0.01068 TFLOP per trial"
    memory = re.findall(r"│ memory: .*? │ ([\d.,]+) MiB", ended.out)
    assert len(memory) == 4
    assert all(float(part) > 0 for part in memory)


def test_several_recipes_and_overrides(main):
    ended = main("digits/quick", "mnist/base", "epochs=3")
    assert ended.status == 0
    assert "# digits/quick, recipe hash" in ended.out
    assert "# mnist/base, recipe hash" in ended.out
    assert re.findall(r"│ steps +│ (\S+)", ended.out) == ["66", "564"], "a tenth of MNIST is 188 batches of 32"


def test_what_is_computed_beside_the_batches_is_not_counted(main):
    ended = main("mnist/fixmatch")
    assert row(ended.out, "training") == "not counted: more is computed by techniques.fixmatch"
    assert json.loads(main("mnist/fixmatch", "--json").out)["train_flops"] is None


def test_a_smoke_test_is_estimated_as_one(main):
    assert row(main("cifar10/davidnet-10", "--smoke-test").out, "steps") == "8"  # 256 images in batches of 64, twice


def test_json_has_an_object_per_recipe(main):
    ended = main("digits/quick", "mnist/base", "--json")
    objects = [json.loads(line) for line in ended.out.splitlines()]
    assert [one["recipe"] for one in objects] == ["digits/quick", "mnist/base"]
    assert objects[0]["hash"] == recipe.load("digits/quick").hash
    parts = ("data_bytes", "weight_bytes", "activation_bytes")
    assert all(one["memory_bytes"] == sum(one[part] for part in parts) > 0 for one in objects)


@pytest.fixture(scope="module")
def costs():
    return estimate.estimate(recipe.load("digits/quick"), "cpu")


@pytest.mark.parametrize("name", recipe.names())
def test_what_is_printed_is_the_recipe(name, costs):
    """It can be copied into a file."""
    console, chosen = Console(file=io.StringIO(), width=40), recipe.load(name)
    estimate.show(console, name, chosen, costs)
    head, _, rest = console.file.getvalue().partition("\n")
    settings = yaml_reader.read(rest[: rest.index("┌")])
    assert head == f"# {name}, recipe hash {chosen.hash}"
    assert recipe.validate(settings, "printed") == chosen
    assert set(settings) <= set(Recipe.model_fields)


@pytest.mark.parametrize(
    ("name", "override", "message"),
    [
        ("digits/quick", "batch_size=5000", "batch_size=5000 is more than the 1437 training images"),
        ("mnist/base", "data.fraction=0.0001", "data.fraction=0.0001 keeps 6 of 60000"),
        ("cifar10/davidnet-10", "half_dtype=float16", "half_dtype=float16 on a CPU"),
    ],
)
def test_what_would_not_train_is_refused(main, name, override, message):
    ended = main(name, override)
    assert ended.status == 2
    assert ended.err.startswith("bench/estimate.py: error: ")
    assert message in ended.err
    assert ended.err.count("\n") == 1


@pytest.fixture
def recorded():
    """The directory of a run of digits/quick with three epochs."""
    chosen = recipe.load("digits/quick", ["epochs=3"])
    known = {"recipe_name": "digits/quick", "recipe": chosen.model_dump(mode="json"), "recipe_hash": chosen.hash}
    return store.create(Path("runs"), builders.record(**known)).path


def test_a_recorded_run_is_estimated(main, recorded):
    ended = main("--run", recorded)
    assert (ended.status, ended.err) == (0, "")
    assert row(ended.out, "steps") == "66"


@pytest.mark.parametrize("more", [["digits/quick"], ["epochs=2"], ["--smoke-test"], ["--suite", "nightly"]])
def test_a_recorded_run_has_a_recipe_of_its_own(main, more):
    ended = main("--run", "x", *more)
    assert ended.status == 2
    assert "--run takes the recipe of the run" in ended.err
