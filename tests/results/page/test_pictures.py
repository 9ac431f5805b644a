import sys

import pytest

from results.page import pictures
from results.page.data import page_data
from tests.results.page.planted import HOSTILE, machine, needs_chrome, processes, run

LADDER = {"epochs": 3, "change": "a change", "table": "ladder"}


@pytest.fixture(scope="module")
def data():
    steps = [run(number, recipe_name=f"cifar10/ladder/0{number}-a", recipe=LADDER) for number in range(2)]
    hostile = [run(number, recipe_name=HOSTILE, environment=machine(HOSTILE)) for number in (2, 3)]
    return page_data([*steps, *hostile, processes(4, 1), processes(5, 2)], [])


def strings(value):
    """Every text in a figure."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [text for item in value for text in strings(item)]
    return [value] if isinstance(value, str) else []


def test_there_is_a_picture_of_everything_that_has_runs(data):
    kinds = [name.split("-")[0] for name in pictures.drawings(data, "strict")]
    assert sorted(kinds) == ["curves"] * 4 + ["histories", "ladders"] + ["laps"] * 4 + ["scalings"]


def test_a_trial_without_a_time_has_no_curve(data):
    def traces(protocol):
        return [
            trace
            for name, one in pictures.drawings(data, protocol).items()
            if "curves" in name
            for trace in one["data"]
        ]

    assert traces("strict")
    assert traces("cold") == []


def test_a_picture_is_valid_for_plotly(data):
    objects = pytest.importorskip("plotly.graph_objects")
    for protocol in ("strict", "dawnbench"):
        for figure in pictures.drawings(data, protocol).values():
            assert objects.Figure(figure).data


def test_colours_of_the_page_are_colours_in_pictures(data):
    for name, figure in pictures.drawings(data, "strict").items():
        assert not [text for text in strings(figure) if "var(" in text], name


def test_pictures_have_the_colours_of_the_light_theme_on_white():
    light = pictures.light_theme()
    assert (light["paper"], light["ink"], light["c0"]) == ("#ffffff", "#1f2428", "#2b6cb0")


def test_pictures_count_time_as_the_protocol_does(data):
    def title(protocol):
        return pictures.drawings(data, protocol)["ladders-1"]["layout"]["yaxis"]["title"]["text"]

    assert (title("strict"), title("airbench")) == ("total s, strict time", "total s, airbench time")


@needs_chrome
def test_pictures_are_written_whatever_the_names_are(data, tmp_path):
    heads = {".png": b"\x89PNG", ".svg": b"<svg"}
    written = pictures.write(data, tmp_path, ["png", "svg"], "strict")  # Chromium starts once
    assert sorted(written) == sorted(tmp_path.iterdir())
    assert sorted(path.name for path in written) == sorted(
        f"{name}{kind}" for name in pictures.drawings(data, "strict") for kind in heads
    )
    assert all(path.read_bytes().startswith(heads[path.suffix]) for path in written)


def test_an_unknown_protocol_is_refused(data, tmp_path):
    with pytest.raises(ValueError, match="protocol='fast'"):
        pictures.write(data, tmp_path, ["png"], "fast")


def test_without_kaleido_the_error_says_what_to_install(data, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "kaleido", None)
    with pytest.raises(ValueError, match=r"kaleido is missing: pip install -e '\.\[report\]' -c"):
        pictures.write(data, tmp_path, ["png"], "strict")


def test_without_chrome_the_error_says_what_to_install(data, tmp_path, monkeypatch):
    pytest.importorskip("plotly")
    chromium = pytest.importorskip("choreographer.browsers.chromium", reason="needs kaleido")
    monkeypatch.setattr(chromium.Chromium, "find_browser", lambda **_: None)
    with pytest.raises(ValueError, match="Chrome or Chromium, which was not found: install it") as error:
        pictures.write(data, tmp_path, ["png"], "strict")
    assert "\n" not in str(error.value)
