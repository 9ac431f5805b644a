from itertools import pairwise
from string import ascii_lowercase

import pytest

from pipelines import recipe
from pipelines.recipe import RecipeError
from pipelines.recipe.yaml_reader import MOST_BYTES, YamlError, read


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3), ("-1.5E+2", -150.0), (".5", 0.5), ("2.", 2.0), ("0", 0), ("-12", -12), ("50_000", 50_000),
        ("true", True), ("null", None), ("1:04", "1:04"), ("0100", "0100"), ("0x10", "0x10"), ("1:04.5", "1:04.5"),
        ("[1, 2.5]", [1, 2.5]), ("{a: {b: 1}}", {"a": {"b": 1}}), ("2026-11-21x", "2026-11-21x"), ("", None),
        ("'1'", "1"),
    ],
)  # fmt: skip
def test_values(text, value):
    assert read(text) == value
    assert type(read(text)) is type(value)


@pytest.mark.parametrize("value", ["1:04", "0100"])
def test_a_number_in_another_base_is_refused(value):
    with pytest.raises(RecipeError, match=f"epochs='{value}'"):
        recipe.load("digits/quick", [f"epochs={value}"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epochs: 1\nbatch_size: 2\nepochs: 3", "'epochs' stands in line 1 and in line 3"),
        ("model:\n  name: airnet\n  depth: 2\n  depth: 3", "'depth' stands in line 3 and in line 4"),
        ("model: {depth: 2, depth: 3}", "'depth' stands in line 1 and in line 1"),
    ],
)
def test_duplicate_keys_are_refused_with_both_lines(text, message, tmp_path):
    path = tmp_path / "twice.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=f"twice.yaml.*{message}"):
        recipe.load(str(path))


def test_the_same_key_in_two_groups_is_no_duplicate():
    assert read("{a: {name: x}, b: {name: y}, c: [{name: z}, {name: z}]}")["b"] == {"name": "y"}


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ('a: !!int ""', "!!int"),
        ("a: !!bool maybe", "!!bool"),
        ("a: !!timestamp x", "!!timestamp"),
        ("[!!str 1]", "!!str"),
        ("!!set {a}", "!!set"),
        ("!mine {a: 1}", "!mine"),
    ],
)
def test_tags_are_refused(text, tag):
    with pytest.raises(YamlError, match=f"^line 1: tags such as {tag} are not read"):
        read(text)


@pytest.mark.parametrize("key", ["1", "1.5", "true", "null", "2026-11-21", "[a]", "{a: 1}", "="])
def test_a_key_is_a_text(key):
    for text in (f"{{{key}: 1}}", f"a: [{{{key}: 1}}]"):
        with pytest.raises(YamlError, match="keys are texts: write it in quotes"):
            read(text)
    assert read(f"{{'{key}': 1}}") == {key: 1}


BOMB = "a: &a [x, x]\n" + "".join(f"{new}: &{new} [*{old}, *{old}]\n" for old, new in pairwise(ascii_lowercase))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "line 2: aliases"),
        ("[" * 20_000 + "]" * 20_000, "within one another"),
        ("{a: " * 20_000 + "1" + "}" * 20_000, "within one another"),
        ("a" * 1_000_001, "more than 1,000,000"),
    ],
    ids=["alias bomb", "nested lists", "nested mappings", "too large"],
)
def test_what_would_take_long_to_read_is_refused(text, message, tmp_path):
    path = tmp_path / "large.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=message):
        recipe.load(str(path))


def test_a_long_text_is_refused():
    with pytest.raises(YamlError, match="characters"):
        read(" " * (MOST_BYTES + 1))
