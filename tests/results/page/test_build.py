import base64
import hashlib
import json
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from results.page import build
from results.page.data import page_data
from tests.results.page.planted import HOSTILE, machine, run

pytest.importorskip("jinja2")
pytest.importorskip("plotly")


class Seen(HTMLParser):
    """What a browser would make of the page: its tags, and the contents of its scripts."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.options, self.scripts, self.policy = [], [], [], ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append(tag)
        if tag == "option":
            self.options.append(attributes.get("value"))
        if tag == "script":
            self.scripts.append([attributes.get("type"), ""])
        if attributes.get("http-equiv") == "Content-Security-Policy":
            self.policy = attributes["content"]

    def handle_data(self, data):
        if self.tags[-1:] == ["script"] and self.scripts:
            self.scripts[-1][1] += data

    def handle_endtag(self, tag):
        self.tags.append(f"/{tag}")


@pytest.fixture(scope="module")
def data():
    hostile = {"title": HOSTILE, HOSTILE: HOSTILE, "data": {"name": HOSTILE}}
    one = run(recipe_name=HOSTILE.replace("/", ""), recipe=hostile, command=[HOSTILE], environment=machine(HOSTILE))
    return page_data([one, run(1)], [])


@pytest.fixture(scope="module")
def page(data):
    return build.page(data, HOSTILE)


def test_texts_of_records_stay_texts(page, data):
    seen = Seen(page)
    assert "img" not in seen.tags
    assert [kind for kind, _ in seen.scripts] == ["application/json", None, None]
    assert json.loads(seen.scripts[0][1]) == data
    assert HOSTILE in seen.options
    assert HOSTILE not in page


def test_only_our_scripts_may_run_and_nothing_may_be_loaded(page):
    seen = Seen(page)
    rules = dict(rule.strip().split(" ", 1) for rule in seen.policy.split(";"))
    allowed = [
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for _, text in seen.scripts[1:]
    ]
    assert rules.pop("script-src").split() == allowed
    assert rules == {"default-src": "'none'", "style-src": "'unsafe-inline'", "img-src": "data: blob:"}


def test_choices_are_what_the_runs_have(data):
    choices = build.choices(data)
    assert choices["target"] == [("", "all"), ("0.94", "94%")]
    assert {name for name, _ in choices["data"]} == {"*", HOSTILE, "cifar10"}


def test_every_file_of_the_script_is_in_the_page():
    assert {path.stem for path in Path(build.__file__).with_name("script").iterdir()} == set(build.SCRIPTS)


@pytest.mark.parametrize("module", ["jinja2", "plotly"])
def test_a_missing_package_is_one_line_that_says_what_to_install(module, data, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ValueError, match=r"pip install -e '\.\[report\]' -c"):
        build.page(data, "runs")
