import io
import re
from pathlib import Path

import pytest
import torch
import yaml
from rich.console import Console

from bench import dry_run
from pipelines import recipe
from pipelines.recipe import Recipe

CPU = torch.device("cpu")


def shown(name, *overrides, width=160):
    console = Console(file=io.StringIO(), width=width)
    dry_run.show(console, name, recipe.load(name, overrides), CPU)
    return console.file.getvalue()


def row(text, label):
    """The value beside a label of the table."""
    return re.search(rf"│ {label} +│ (.*?) +│", text)[1]


def test_davidnet_costs_what_its_publication_says(main, tmp_path):
    ended = main("cifar10/davidnet-10", "--dry-run", "--data-dir", tmp_path / "empty")
    assert (ended.status, ended.err) == (0, "")
    assert re.fullmatch(r"6,57\d,\d{3}", row(ended.out, "parameters"))
    assert row(ended.out, "forward pass") == "760.0 MFLOP an image"
    assert row(ended.out, "steps") == "970"
    assert row(ended.out, "training") == "1,132.4 TFLOP a trial"
    assert list(tmp_path.iterdir()) == [], "a dry run leaves nothing behind"


def test_several_recipes_and_overrides(main):
    ended = main("digits/quick", "mnist/base", "epochs=3", "--dry-run")
    assert ended.status == 0
    assert "# digits/quick, recipe hash" in ended.out
    assert "# mnist/base, recipe hash" in ended.out
    assert re.findall(r"│ steps +│ (\S+)", ended.out) == ["66", "564"], "a tenth of MNIST is 188 batches of 32"


def test_a_sample_is_estimated_as_a_sample(main):
    ended = main("cifar10/davidnet-10", "--sample", "--dry-run")
    assert row(ended.out, "steps") == "8"  # 256 images in batches of 64, twice


@pytest.mark.parametrize("width", [160, 80, 40])
@pytest.mark.parametrize("name", recipe.names())
def test_what_is_printed_is_the_recipe(name, width):
    """On a console of any width: it can be copied into a file."""
    head, _, rest = shown(name, width=width).partition("\n")
    settings = yaml.safe_load(rest[: rest.index("┌")])
    chosen = recipe.load(name)
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
    ended = main(name, override, "--dry-run")
    assert ended.status == 2
    assert ended.err.startswith("bench/run.py: error: ")
    assert message in ended.err
    assert ended.err.count("\n") == 1


def test_a_run_can_be_looked_at_before_it_is_resumed(main):
    main("model.widths=[4]", "epochs=0.1", "--trials", "1")
    (kept,) = Path("runs").iterdir()
    ended = main("--resume", kept, "--dry-run")
    assert (ended.status, ended.err) == (0, "")
    assert row(ended.out, "steps") == "3"
