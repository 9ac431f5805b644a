import sys
from functools import partial
from importlib import import_module

import pytest
import torch

from bench import doctor, doctor_view
from pipelines import recipe
from pipelines.data import sources
from pipelines.host import extras


@pytest.fixture
def examine(call):
    """`bench/doctor.py …` in this process; pictures go to `tmp_path`/runs/doctor."""
    return partial(call, doctor, "--device", "cpu")


def words(text):
    return " ".join(text.split())


def test_a_healthy_recipe_gets_its_tables_and_pictures(examine, tmp_path):
    pytest.importorskip("matplotlib")
    ended = examine("digits/quick", "model.widths=[16]")
    assert (ended.status, ended.err) == (0, "")
    assert "digits/quick: examination" in ended.out
    assert "broken" not in ended.out
    assert "head.weight" in ended.out
    pictures = sorted(path.name for path in (tmp_path / "runs" / "doctor").iterdir())
    assert pictures == ["digits-quick-fed.png", "digits-quick-range.png"]
    assert all(f"picture: runs/doctor/{name}" in ended.out for name in pictures)


def test_without_matplotlib_a_line_says_what_to_install(examine, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    ended = examine("digits/quick", "model.widths=[16]")
    assert ended.status == 0
    assert "learning rate" in ended.out
    assert "pip install -e '.[report]' -c constraints.txt" in words(ended.out)
    assert [path.name for path in (tmp_path / "runs" / "doctor").iterdir()] == ["digits-quick-fed.png"]


@pytest.mark.parametrize(("precision", "is_said"), [("autocast", True), ("float32", False)])
def test_where_bfloat16_would_be_emulated_float32_is_examined(examine, monkeypatch, precision, is_said):
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    trained = []
    monkeypatch.setattr(doctor_view, "show", lambda console, name, chosen, *more: trained.append(chosen.precision))
    ended = examine("digits/quick", "model.widths=[16]", f"precision={precision}")
    assert (ended.status, ended.err, trained) == (0, "", ["float32"])
    assert ("examined and timed in float32" in ended.out) == is_said


def test_something_broken_is_exit_status_1(examine):
    ended = examine("digits/quick", "model.widths=[16]", "optimizer.lr=30")
    assert ended.status == 1
    assert "far too high" in words(ended.out)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere/at-all"], "no recipe is called 'nowhere/at-all'"),
        (["digits/quick", "optimizer.rl=1"], "optimizer.rl"),
        (["digits/quick", "target=null"], "has no target"),
        (["digits/quick", "batch_size=5000"], "batch_size=5000"),
        ([], "see --help"),
    ],
)
def test_wrong_use_is_one_line_and_exit_status_2(examine, arguments, message):
    ended = examine(*arguments)
    assert (ended.status, ended.err.count("\n")) == (2, 1)
    assert ended.err.startswith("bench/doctor.py: error: ")
    assert message in ended.err


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_the_grid_has_a_row_for_each_class(channels):
    images = torch.rand(30, channels, 8, 8)
    labels = torch.arange(30) % 3
    assert doctor_view.grid(images, labels).shape == (3, 3 * 9 + 1, 10 * 9 + 1)


def test_a_missing_package_names_its_extra(monkeypatch):
    assert extras.require("json", "search") is import_module("json")
    with pytest.raises(extras.MissingExtraError, match=r"no_such_package is missing: pip install -e '\.\[search\]'"):
        extras.require("no_such_package", "search")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mnist/base", "cifar10/airbench94-muon"])
def test_the_shipped_recipes_pass(examine, name):
    folder = sources.default_folder()
    if sources.source(recipe.load(name).data.name).find(folder) is None:
        pytest.skip(f"{name}: its data are not in {folder}; PACELINE_DATA names the folder with the data sets")
    ended = examine(name, "--data-dir", folder)
    assert (ended.status, ended.err) == (0, ""), ended.out


def test_a_function_is_examined_from_outside(examine, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "mine_to_examine.py").write_text(
        "def train(run):\n    run.evaluated(1, accuracy=0.5)\n    return float('nan')\n"
    )
    ended = examine("mine_to_examine.py:train")
    assert (ended.status, ended.err) == (1, "")
    assert "mine_to_examine.py:train: examination" in ended.out
    assert "the accuracy at the end is NaN" in words(ended.out)
    assert "not examined: the function feeds its network itself" in words(ended.out)


def test_a_command_is_not_examined(examine, tmp_path):
    (tmp_path / "mine.yaml").write_text("command: python train.py\ntarget: 0.5\n")
    ended = examine("mine.yaml")
    assert ended.status == 2
    assert "mine.yaml: a command is timed from outside" in ended.err


def test_a_loss_that_is_no_number_from_the_first_step_on_is_exit_status_1(examine, tmp_path):
    pytest.importorskip("matplotlib")
    ended = examine("digits/quick", "model.widths=[8,8]", "initialization.gain=1e30")
    assert (ended.status, ended.err) == (1, "")
    assert "no picture of the range test: the loss is NaN or infinite from the first step on" in ended.out
    assert [path.name for path in (tmp_path / "runs" / "doctor").iterdir()] == ["digits-quick-fed.png"]
