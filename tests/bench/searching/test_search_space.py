import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.searching import search_space
from bench.searching.search_space import Choices, Range


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("log:1e-4..1e-1", Range(1e-4, 1e-1, log=True)),
        ("0.5..0.99", Range(0.5, 0.99)),
        ("16..256", Range(16, 256, whole=True)),
        ("log:16..256", Range(16, 256, log=True, whole=True)),
        ("sgd|adamw", Choices(("sgd", "adamw"))),
        ("true|false|null", Choices((True, False, None))),
        ("1e-3|0.1", Choices((1e-3, 0.1))),
        ("1:04|1e3", Choices(("1:04", 1e3))),
        ("../images", None),
        ("/data/../images", None),
        ("0.1", None),
        ("[0,1,2]", None),
    ],
)
def test_what_is_written_is_what_is_searched(text, expected):
    assert search_space.parse("knob", text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1..0.1", "to a larger one"),
        ("a..b", "from a number"),
        ("log:0..1", "must begin above 0"),
        ("log:-1..1", "above 0"),
    ],
)
def test_a_range_that_is_none_is_refused(text, message):
    with pytest.raises(ValueError, match=rf"knob={text}: .*{message}"):
        search_space.parse("knob", text)


def test_words_are_searched_or_fixed():
    space, fixed = search_space.split({"optimizer.lr": "0.1..1", "epochs": "3"})
    assert space == {"optimizer.lr": Range(0.1, 1)}
    assert fixed == ["epochs=3"]
    with pytest.raises(ValueError, match="nothing to search"):
        search_space.split({"epochs": "3"})


def test_a_grid_is_even_on_its_scale():
    assert Range(1e-4, 1e-1, log=True).points(4) == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1])
    assert Range(0, 1).points(3) == [0, 0.5, 1]
    assert Range(1, 3, whole=True).points(10) == [1, 2, 3]
    assert Choices(("a", "b")).points(10) == ["a", "b"]


@given(st.floats(0, 1), st.booleans())
def test_a_refined_range_is_a_quarter_around_the_best_and_stays_inside(share, log):
    whole = Range(1e-3, 10, log=log)
    scale = math.log if log else float
    low, high = scale(whole.low), scale(whole.high)
    best = low + share * (high - low)
    part = whole.around(min(max(math.exp(best) if log else best, whole.low), whole.high))
    assert whole.low <= part.low < part.high <= whole.high
    width = scale(part.high) - scale(part.low)
    assert width == pytest.approx((high - low) / 4, rel=1e-6)
    assert scale(part.low) - 1e-9 <= best <= scale(part.high) + 1e-9
    assert part.log == log


def test_refined_whole_numbers_and_choices():
    assert Range(0, 80, whole=True).around(40) == Range(30, 50, whole=True)
    assert Range(1, 2, whole=True).around(1) == Range(1, 2, whole=True)
    assert Choices(("a", "b")).around("b") == Choices(("b",))


def test_a_space_survives_its_study():
    space = {"a": Range(1, 2, log=True, whole=True), "b": Choices((True, None, "x", 1.5)), "c": Range(0.0, 0.5)}
    assert search_space.from_json(search_space.to_json(space)) == space


def test_values_become_overrides_and_a_tree():
    values = {"optimizer.lr": 1e-5, "optimizer.nesterov": False, "epochs": 3, "model.norm.scale": None}
    assert search_space.overrides(values) == [
        "optimizer.lr=1e-05",
        "optimizer.nesterov=false",
        "epochs=3",
        "model.norm.scale=null",
    ]
    tree = {"optimizer": {"lr": 1e-5, "nesterov": False}, "epochs": 3, "model": {"norm": {"scale": None}}}
    assert search_space.nested(values) == tree
