"""Suites: those that ship name recipes that ship, and a wrong one is refused by its file."""

import pytest

from bench.command_line import jobs, suites
from pipelines import recipe


@pytest.mark.parametrize("name", suites.names())
def test_a_suite_that_ships_loads_with_all_its_recipes(name):
    entries = suites.load(name)
    assert {entry.recipe for entry in entries} <= set(recipe.names())
    found = jobs.jobs(jobs.parse(["--suite", name]))
    assert [(job.name, len(job.seeds)) for job in found] == [(entry.recipe, entry.trials) for entry in entries]


def test_a_suite_is_no_recipe():
    assert not [name for name in recipe.names() if name.startswith(("suites/", "ci/"))]


def test_options_and_a_path_go_with_a_suite(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("- {recipe: digits/quick, trials: 2}\n")
    (job,) = jobs.jobs(jobs.parse(["--suite", str(path), "epochs=3", "--seed", "5"]))
    assert (job.seeds, job.recipe.epochs) == ((5, 6), 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- {recipe: digits/quick, trials: 0}", "0.trials: Input should be greater than or equal to 1"),
        ("- {recipe: digits/quick}", "0.trials: Field required"),
        ("- {recipe: a, trials: 1, seed: 2}", "0.seed: Extra inputs are not permitted"),
        ("- {recipe: a, trials: 1, fail_on: [time]}", "0.fail_on: Value error, '' is not a limit of time"),
        ("- {recipe: a, trials: 1, fail_on: [time:2%, time:3%]}", "two rules for one metric"),
        ("- {recipe: a, trials: 1}\n- {recipe: a, trials: 2}", "names a twice"),
        ("[]", "names no recipe"),
        ("{", "is not YAML"),
        ("- {recipe: a, trials: 1, trials: 2}", "'trials' stands in line 1 and in line 1"),
        ("- &one {recipe: a, trials: 1}\n- *one", "aliases such as *one are not read"),
        ("recipe: a", "Input should be a valid list"),
    ],
)
def test_a_wrong_suite_is_refused_by_its_file(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match="mine.yaml: ") as caught:
        suites.load(str(path))
    assert message in str(caught.value)


def test_a_missing_suite_is_refused():
    with pytest.raises(ValueError, match="no suite is called 'weekly': use one of nightly"):
        suites.load("weekly")
    with pytest.raises(ValueError, match=r"nowhere\.yaml: there is no such file"):
        suites.load("nowhere.yaml")
