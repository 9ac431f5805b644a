from typing import Annotated, Literal

import pytest

from bench.command_line import jobs, recipe_help
from bench.command_line.options import EXIT_STATUS
from pipelines.recipe import Recipe
from pipelines.recipe.config import configs_in, documented
from pipelines.recipe.networks import ConvNet, DavidNet


def squeezed(text):
    return "".join(text.split())


@pytest.fixture
def help_of(capsys, monkeypatch):
    """What `bench/run.py --help TOPIC` prints, on a wide terminal unless a test says otherwise."""
    monkeypatch.setenv("COLUMNS", "120")

    def call(topic):
        with pytest.raises(SystemExit) as leaving:
            jobs.parse(["--help", topic])
        assert leaving.value.code == 0
        return capsys.readouterr().out

    return call


def test_every_option_has_its_type_default_and_documentation(help_of):
    text = help_of("recipe")
    whole = squeezed(text)
    found = list(documented(Recipe))
    assert len(found) > 50
    for key, field in found:
        assert field.description, key
        if configs_in(field.annotation):
            assert squeezed(f"{key} {field.description}") in whole, key
        elif not key.endswith(".name"):
            default = "" if field.is_required() else f" [{recipe_help.typed(field.get_default())}]"
            kind = recipe_help.type_name(field.annotation)
            assert squeezed(f"{key} {kind}{default}: {field.description}") in whole, key
    assert max(map(len, text.splitlines())) <= 120


def test_a_topic_shows_its_group_alone(help_of):
    text = help_of("optimizer")
    assert "optimizer.name=muon: Muon" in text
    assert "optimizer.nesterov" in text
    assert "model." not in text
    assert len(text) < len(help_of("recipe")) / 3


def test_every_group_is_a_topic(help_of):
    for topic in recipe_help.topics():
        assert f"\n  {topic} " in help_of(topic)


def test_an_unknown_topic_is_refused_with_those_that_exist(capsys):
    with pytest.raises(SystemExit) as leaving:
        jobs.parse(["--help", "weather"])
    assert leaving.value.code == 2
    assert "'weather' is not a topic: use one of recipe, data, augment" in capsys.readouterr().err


@pytest.mark.parametrize("columns", [60, 80, 120])
@pytest.mark.parametrize("topic", [None, "recipe"])
def test_no_line_is_wider_than_the_terminal(help_of, monkeypatch, columns, topic, capsys):
    monkeypatch.setenv("COLUMNS", str(columns))
    if topic:
        text = help_of(topic)
    else:
        with pytest.raises(SystemExit):
            jobs.parse(["--help"])
        text = capsys.readouterr().out.partition("examples:")[0].replace(EXIT_STATUS, "")
    assert max(map(len, text.splitlines())) <= columns


def test_a_kind_is_described_by_its_first_sentence(help_of):
    assert "optimizer.name=muon: Muon (Jordan et al. 2024) for the" in help_of("optimizer")


@pytest.mark.parametrize(("value", "text"), [("torch", "torch"), (True, "true"), (None, "null"), ((1, 2), "[1, 2]")])
def test_defaults_are_spelled_as_they_are_typed(value, text):
    assert recipe_help.typed(value) == text


@pytest.mark.parametrize(
    ("annotation", "name"),
    [
        (int, "integer"),
        (float, "number"),
        (bool, "true|false"),
        (str | None, "text|null"),
        (Literal["a", "b"], "a|b"),
        (tuple[int, ...], "list of integers"),
        (Literal[2, 3] | tuple[Literal[2, 3], ...], "2|3|list of 2|3"),
        (Annotated[float, "above 0"] | None, "number|null"),
        (Annotated[DavidNet | ConvNet, "by name"], "davidnet|convnet"),
    ],
)
def test_types_are_spelled_as_they_are_typed(annotation, name):
    assert recipe_help.type_name(annotation) == name
