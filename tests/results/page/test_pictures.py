import sys

import pytest

from results.page.data import page_data
from results.page.pictures import drawings, waterfall, write
from tests.results.page.planted import HOSTILE, machine, processes, run

Figure = pytest.importorskip("matplotlib.figure").Figure

LADDER = {"epochs": 3, "change": "a trick"}


@pytest.fixture(scope="module")
def data():
    rungs = [run(number, recipe_name=f"cifar10/ladder/0{number}-a", recipe=LADDER) for number in range(2)]
    hostile = [run(number, recipe_name=HOSTILE, environment=machine(HOSTILE)) for number in (2, 3)]
    return page_data([*rungs, *hostile, processes(4, 1), processes(5, 2)], [])


def test_there_is_a_picture_of_everything_that_has_runs(data):
    kinds = [name.split("-")[0] for name in drawings(data, "strict")]
    assert sorted(kinds) == ["curves"] * 4 + ["history", "ladder"] + ["laps"] * 4 + ["scaling"]


@pytest.mark.parametrize(("kind", "head"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_pictures_are_written_whatever_the_names_are(data, tmp_path, kind, head):
    written = write(data, tmp_path, [kind], "strict")
    assert sorted(written) == sorted(tmp_path.iterdir())
    assert all(path.read_bytes().startswith(head) for path in written)


def test_an_unknown_protocol_is_refused(data, tmp_path):
    with pytest.raises(ValueError, match="protocol='fast'"):
        write(data, tmp_path, ["png"], "fast")


def test_without_matplotlib_it_says_what_to_install(data, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ValueError, match=r"matplotlib: pip install -e '\.\[report\]' -c"):
        write(data, tmp_path, ["png"], "strict")


def test_a_ladder_that_reached_nothing_is_drawn_by_its_epochs(data):
    figure = Figure()
    axes = figure.subplots()
    (ladder,) = data["ladders"]
    waterfall(axes, ladder | {"seconds": {"strict": [None, None]}}, data["runs"], "strict")
    assert axes.get_ylabel() == "seconds an epoch"
    assert [bar.get_height() for bar in axes.patches] == pytest.approx([ladder["epochs"][0], 0, ladder["epochs"][1]])
