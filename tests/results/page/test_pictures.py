"""The page's charts as files."""

import shutil
import sys

import pytest

from results.page.data import page_data
from results.page.pictures import drawings, write
from tests.results.page.planted import HOSTILE, machine, processes, run

pytest.importorskip("plotly")

LADDER = {"epochs": 3, "change": "a change", "table": "ladder"}
has_browser = pytest.mark.skipif(
    not any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), reason="no Chrome or Chromium"
)


@pytest.fixture(scope="module")
def data():
    steps = [run(number, recipe_name=f"cifar10/ladder/0{number}-a", recipe=LADDER) for number in range(2)]
    hostile = [run(number, recipe_name=HOSTILE, environment=machine(HOSTILE)) for number in (2, 3)]
    return page_data([*steps, *hostile, processes(4, 1), processes(5, 2)], [])


def test_there_is_a_picture_of_everything_that_has_runs(data):
    kinds = [name.split("-")[0] for name in drawings(data, "strict")]
    assert sorted(kinds) == ["curves"] * 4 + ["histories", "ladders"] + ["laps"] * 4 + ["scalings"]


def test_plotly_takes_every_figure(data):
    from plotly.graph_objects import Figure

    for protocol in ("strict", "cold"):
        for figure in drawings(data, protocol).values():
            Figure(figure)


@pytest.mark.slow
@has_browser
def test_pictures_are_written_whatever_the_names_are(data, tmp_path):
    pytest.importorskip("kaleido")
    few = data | {"runs": data["runs"][2:4], "ladders": [], "scalings": []}
    written = write(few, tmp_path, ["png", "svg"], "strict")
    assert sorted(written) == sorted(tmp_path.iterdir())
    heads = {".png": b"\x89PNG", ".svg": b"<svg"}
    assert all(path.read_bytes().startswith(heads[path.suffix]) for path in written)


def test_an_unknown_protocol_is_refused(data, tmp_path):
    with pytest.raises(ValueError, match="protocol='fast'"):
        write(data, tmp_path, ["png"], "fast")


def test_without_kaleido_it_says_what_to_install(data, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "kaleido", None)
    with pytest.raises(ValueError, match=r"kaleido: pip install -e '\.\[report\]' -c"):
        write(data, tmp_path, ["png"], "strict")
