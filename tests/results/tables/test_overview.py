"""Which tables a set of runs ends with: those that the recipes name, as far as the runs fill them."""

from pathlib import Path

import pytest

from results.record import Run
from results.tables.overview import overview
from tests.results.builders import record, trial


def run(name, table=None, notes=None, **changes):
    recipe = {"epochs": 3.0, "change": "a change", "table": table}
    return Run(record(recipe_name=name, recipe=recipe, **changes), (trial(notes=notes or {}),), Path("runs"))


def titles(*runs):
    return [table.title for table in overview(runs, "strict")]


COSTS = {"loader_costs": {"images": 10, "seconds": 1.0, "waited_seconds": 0.0, "cpu_seconds": 1.0}}
PAIRS = {
    "ladder": [run(f"any/{number}", "ladder") for number in range(2)],
    "techniques": [run(f"any/{name}", "techniques") for name in ("base", "other")],
    "loaders": [run(f"any/{name}", "loaders", COSTS) for name in ("bulk", "dali")],
    "strategies": [
        run(f"any/{name}", "strategies", world_size=2, environment={"strategy": name}) for name in ("DDP", "FSDP2")
    ],
}


@pytest.mark.parametrize("table", PAIRS)
def test_recipes_name_the_table_that_they_end_with(table):
    assert titles(*PAIRS[table]) == [table]
    assert titles(PAIRS[table][0]) == ["strict time"], "one run is no comparison"


def test_runs_of_several_tables_have_all_of_them_and_a_summary_of_the_rest():
    runs = [*PAIRS["techniques"], *PAIRS["ladder"], run("any/alone")]
    assert titles(*runs) == ["ladder", "techniques", "strict time"]


def test_smoke_tests_are_in_the_summary_alone():
    runs = [run(f"any/{number}", "ladder", smoke_test=True) for number in range(2)]
    (title,) = titles(*runs)
    assert title.startswith("strict time (smoke test")


def test_techniques_of_different_baselines_have_tables_of_their_own():
    runs = [run(f"{folder}/{name}", "techniques") for folder in ("a", "b") for name in ("base", "other")]
    assert titles(*runs) == ["techniques", "techniques"]


@pytest.mark.parametrize(
    "runs",
    [
        [run("any/a", "techniques"), run("any/b", "techniques")],
        [run("any/a", "loaders", COSTS), run("any/b", "loaders")],
        [run("any/a", "strategies", world_size=2, environment={"strategy": "DDP"})] * 2,
        [run("any/a", "no such table"), run("any/b", "no such table")],
    ],
)
def test_runs_that_lack_what_the_table_shows_are_in_the_summary(runs):
    assert titles(*runs) == ["strict time"]


def test_no_runs_have_no_table():
    assert titles() == []
