"""--vary: every combination of values, each with overrides and a name of its own."""

import pytest

from bench.command_line import variations
from bench.command_line.variations import Variation, base_of
from pipelines import recipe
from results import store
from tests.results import builders


def test_without_options_to_vary_there_is_one_variation_that_changes_nothing():
    assert variations.parse([]) == [Variation((), "")]


def test_each_value_is_an_override_and_part_of_the_name():
    assert variations.parse(["epochs=8|9|1e1"]) == [
        Variation(("epochs=8",), "+epochs=8"),
        Variation(("epochs=9",), "+epochs=9"),
        Variation(("epochs=10.0",), "+epochs=10"),
    ]


def test_several_options_give_every_combination_the_last_one_fastest():
    found = variations.parse(["optimizer.lr=0.1|0.2", "schedule.name=cosine|constant"])
    assert [one.suffix for one in found] == [
        f"+optimizer.lr={lr}+schedule.name={name}" for lr in ("0.1", "0.2") for name in ("cosine", "constant")
    ]
    assert found[1].overrides == ("optimizer.lr=0.1", 'schedule.name="constant"')


def test_a_recipe_reads_the_values_as_they_were_typed():
    found = variations.parse(["augment={crop: 1}|{crop: 2}", "model.widths=[4]|[4, 8]"])
    chosen = [recipe.load("digits/quick", one.overrides) for one in found]
    assert [one.augment.crop for one in chosen] == [1, 1, 2, 2]
    assert [one.model.widths for one in chosen] == [(4,), (4, 8)] * 2
    assert [one.suffix for one in found[1::2]] == [
        "+augment=crop:1+model.widths=4,8",
        "+augment=crop:2+model.widths=4,8",
    ]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["epochs"], "--vary epochs: is written key=a|b, such as epochs=8|9|10"),
        (["epochs=8"], "--vary epochs=8: has one value: write two values or more as epochs=a|b"),
        (["epochs=8..10"], "--vary epochs=8..10: is a range, of which a run needs a value"),
        (["epochs=8|9|8"], "--vary epochs=8|9|8: two of the values are called '8': leave one out"),
        (["epochs=8|8.0"], "two of the values are called '8'"),
        (["title=a/b|a?b"], "two of the values are called 'a_b'"),
        (["batch_size=8|16"], "--vary batch_size=8|16: batch_size is given twice: leave one out"),
        (["epochs=1|2", "epochs=3|4"], "--vary epochs=3|4: epochs is given twice"),
        (["epochs=[1|2"], "epochs: '[1' is not a YAML value"),
    ],
)
def test_what_is_no_choice_is_refused_in_one_line(texts, message):
    with pytest.raises(ValueError) as raised:  # noqa: PT011  the message is compared without a pattern
        variations.parse(texts, ["batch_size"])
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


HOSTILE = [
    "../../up",
    "..",
    "/etc/x",
    r"..\..\up",
    "a\0b",
    "a\nb",
    "*?[x]",
    "x@HEAD",
    "+epochs=3",
    "a b",
    "é",
    "\udcff",
]


@pytest.mark.parametrize("value", HOSTILE)
def test_a_name_stays_in_its_folder_whatever_the_value(tmp_path, value):
    name = "digits/short+title=" + variations._name(value)
    run = store.create(tmp_path / "runs", builders.record(recipe_name=name))
    assert run.path.parent == tmp_path / "runs"
    assert store.read(run.path).record.recipe_name == name
    assert base_of(name) == "digits/short"
    assert not set(name) & set("*?[]@\n\0 \\")


@pytest.mark.parametrize("name", ["digits/short", "a+b", "mine.py:train", "a=b", "+"])
def test_other_names_have_no_base(name):
    assert base_of(name) is None
