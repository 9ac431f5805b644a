"""What two sides may differ in, and what is said where they may not."""

import pytest

from results.compare import compare
from results.facts import FACTS
from results.samples import DATA_HASH
from tests.results.builders import STEADY, row, samples, times_of


def test_kernels_may_differ_between_two_recipes_and_are_noted():
    facts = [dict.fromkeys(FACTS, "as ever") | {"recipe": name, "kernels": name} for name in ("a", "b")]
    before, after = (
        samples(times_of(1.0), recipe=one["recipe"], facts=one, notes={"kernels": one["kernels"]}) for one in facts
    )
    found = row(before, after)
    assert found.verdict == "same"
    assert "also changed: kernels a → b" in found.notes


@pytest.mark.parametrize("fact", FACTS)
def test_what_differs_is_not_comparable_unless_asked_for(fact):
    other = samples(times_of(1.1), facts={name: "other" if name == fact else "as ever" for name in FACTS})
    found = row(samples(STEADY), other)
    assert (found.verdict, found.mark) == ("not comparable", "x")
    assert found.reason.startswith(f"{fact}: as ever → other")
    assert found.change is None
    assert row(samples(STEADY), other, across=[fact]).verdict == "worse"


def test_data_are_compared_by_their_hash_where_both_sides_have_one():
    def run(name, digest=None, factor=1.0):
        facts = dict.fromkeys(FACTS, "as ever") | {"data": name} | ({DATA_HASH: digest} if digest else {})
        return samples(times_of(factor), facts=facts)

    assert row(run("cifar10", "aaaa"), run("cifar10", "bbbb")).reason == "data hash: aaaa → bbbb"
    assert row(run("cifar10", "aaaa"), run("mirror", "aaaa")).verdict == "same"
    assert row(run("cifar10", "aaaa"), run("cifar10")).verdict == "same"
    assert row(run("cifar10", "aaaa"), run("mnist")).reason == "data: cifar10 → mnist"
    assert row(run("cifar10", "aaaa"), run("cifar10", "bbbb"), across=["data"]).verdict == "same"


def test_another_recipe_of_one_name_shows_the_options_that_changed():
    facts = dict.fromkeys(FACTS, "as ever")
    before = samples(STEADY, facts=facts | {"recipe": "aaaa"}, options={"epochs": 10, "optimizer": {"lr": 0.1, "b": 1}})
    after = samples(STEADY, facts=facts | {"recipe": "bbbb"}, options={"epochs": 9, "optimizer": {"lr": 0.2, "b": 1}})
    assert row(before, after).reason == "recipe: aaaa → bbbb (epochs 10 → 9, optimizer.lr 0.1 → 0.2)"


def test_two_recipes_by_name_are_compared_because_that_is_the_question():
    facts = dict.fromkeys(FACTS, "as ever")
    before, after = samples(STEADY), samples(times_of(0.9), recipe="cifar10/other", facts=facts | {"recipe": "other"})
    found = row(before, after)
    assert (found.recipe, found.verdict) == ("cifar10/airnet → cifar10/other", "better")


def test_two_recipes_of_one_name_are_no_sample_of_either():
    """A file that was edited between two runs: the comparison of two names takes all runs of both."""
    facts = dict.fromkeys(FACTS, "as ever")
    first, second = (samples(STEADY, recipe="b", facts=facts | {"recipe": code}) for code in ("h1", "h2"))
    mixed = compare([samples(STEADY, recipe="a")], [first, second])[0]
    assert (mixed.verdict, mixed.reason) == (
        "not comparable",
        "recipe: b is h1 and h2; name the runs of one of them, or pass --across recipe",
    )
    assert compare([samples(STEADY, recipe="a")], [first])[0].verdict == "same"
    assert compare([samples(STEADY, recipe="a")], [first, second], across=["recipe"])[0].after.n == 2 * len(STEADY)


def test_an_unknown_fact_is_refused():
    with pytest.raises(ValueError, match="across=weather: use one of recipe"):
        compare([samples(STEADY)], [samples(STEADY)], across=["weather"])
