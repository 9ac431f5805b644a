import json
import sys
from datetime import timedelta

import pytest

from bench import measured_tables
from bench.measured_tables import MEASURED, REPOSITORY, output_of, pages, with_figures
from results import store
from tests.results import builders

BEGIN, END = "<!-- measured: begin tables -->", "<!-- measured: end -->"
PAGE = f"# Before\n{BEGIN}\nold figures\n{END}\n## After\n"


@pytest.fixture
def measured(tmp_path):
    """A folder with one run of two trials, measured by the planted laps of the builders."""
    folder = tmp_path / "measured"
    keep(folder, builders.record(seeds=[0, 1]))
    return folder


def keep(folder, record, **changes):
    run = store.create(folder, record)
    for seed in record.seeds:
        run.append(builders.trial(seed, **changes))
    run.finish("finished")


@pytest.fixture
def main(tmp_path, measured, monkeypatch, capsys):
    """The command, for a tree of ours with a README and a page under docs/."""
    readme, page = tmp_path / "README.md", tmp_path / "docs" / "page.md"
    page.parent.mkdir()
    monkeypatch.setattr(measured_tables, "REPOSITORY", tmp_path)
    monkeypatch.setattr(measured_tables, "MEASURED", measured)

    def call(text, *arguments):
        readme.write_text(text)
        page.write_text(text)
        monkeypatch.setattr(sys, "argv", ["bench/measured_tables.py", *arguments])
        status = measured_tables.main()
        assert page.read_text() == readme.read_text()
        return status, readme.read_text(), capsys.readouterr().out

    return call


def test_strategies_have_a_table_for_each_folder_that_has_runs(measured):
    page = "<!-- measured: begin strategies two -->\n<!-- measured: end -->\n"
    assert "No run is recorded yet." in with_figures(page, measured)
    recipe = {"epochs": 3, "batch_size": 100}
    keep(
        measured / "strategies" / "two", builders.record(recipe=recipe, world_size=2, environment={"strategy": "FSDP2"})
    )
    (row,) = [line for line in with_figures(page, measured).splitlines() if line.startswith("| FSDP2")]
    assert row.startswith("| FSDP2 | 2 |")


def test_the_latest_run_of_each_recipe_has_a_row(measured):
    later = builders.CREATED + timedelta(days=1)
    keep(measured, builders.record(id="bbbb1111", created=later, seeds=[0, 1, 2, 3]))
    keep(measured, builders.record(id="cccc1111", recipe_name="digits/quick"))
    page = "<!-- measured: begin runs digits/quick cifar10/airnet mnist/base -->\n<!-- measured: end -->\n"
    rows = [line.split(" | ")[:2] for line in with_figures(page, measured).splitlines() if line.startswith("| ")][2:]
    assert rows == [["| digits/quick", "3"], ["| cifar10/airnet", "4"]]


def test_the_latest_run_on_each_machine_has_a_row_those_on_gpus_last(measured):
    for number, machine in enumerate(("NVIDIA A100", "NVIDIA H100")):
        options = {"recipe_name": "digits/quick", "environment": {"machine_class": machine}}
        keep(measured / "gpu", builders.record(id=f"aaaa111{number}", **options))
    keep(measured, builders.record(id="cccc1111", recipe_name="digits/quick"))
    page = "<!-- measured: begin runs digits/quick cifar10/airnet -->\n<!-- measured: end -->\n"
    rows = [line.split(" | ") for line in with_figures(page, measured).splitlines() if line.startswith("| ")][2:]
    names = [(row[0], row[-1]) for row in rows]
    assert [name for name, _ in names] == ["| digits/quick", "| cifar10/airnet", "| digits/quick", "| digits/quick"]
    assert [machine for _, machine in names[2:]] == ["NVIDIA A100 |", "NVIDIA H100 |"]


def test_a_screening_has_a_row_for_each_set_of_options(measured):
    page = "<!-- measured: begin screening one -->\n<!-- measured: end -->\n"
    every, plain, shorter = "data.evaluate=validation", {"epochs": 9, "data": {"evaluate": "validation"}}, {"epochs": 3}
    trained = (([], plain, 0.94, 2e12), (["epochs=3"], shorter, 0.95, 1e12), ([], plain, 0.96, 2e12))
    for number, (options, recipe, accuracy, flops) in enumerate(trained):
        command, environment = ["bench/run.py", "mine", *options, every], {"train_flops": flops}
        record = builders.record(
            id=f"abcd123{number}", seeds=[0], command=command, recipe=recipe, environment=environment
        )
        keep(measured / "screening" / "one", record, accuracy=accuracy)
    plain, shorter = with_figures(page, measured).splitlines()[-3:-1]
    assert plain == "| none | 2 | 95.00 (94.00, 96.00) | 1.00 |"
    assert shorter == "| `epochs=3` | 1 | 95.00 (95.00) | 0.50 |"


def test_an_option_that_changes_nothing_is_none_of_a_screening(measured):
    recipes = ({"epochs": 9, "model": {"depth": 2}}, {"epochs": 9, "model": {"depth": 2, "crops": None}})
    for number, (options, recipe) in enumerate(zip(([], ["epochs=9"]), recipes, strict=True)):
        command = ["bench/run.py", "mine", *options]
        record = builders.record(
            id=f"abcd123{number}", seeds=[0], command=command, recipe=recipe, environment={"train_flops": 1e12}
        )
        keep(measured / "screening" / "one", record, accuracy=0.94)
    page = "<!-- measured: begin screening one -->\n<!-- measured: end -->\n"
    (row,) = with_figures(page, measured).splitlines()[3:-1]
    assert row == "| none | 2 | 94.00 (94.00, 94.00) | 1.00 |"


def test_the_commands_of_the_first_hour_are_summed_by_session(measured):
    run = store.create(measured / "first-hour", builders.record(seeds=[0]))
    run.append(builders.trial(0))
    rows = [
        "section,command,seconds,load_average",
        "A student,ls,90.0,1.2",
        "A student,cat,30.0,3.9",
        "A reader,ls,6.0,2.0",
    ]
    (measured / "first-hour" / "commands.csv").write_text("\n".join(rows))
    text = with_figures("<!-- measured: begin first-hour -->\n<!-- measured: end -->\n", measured)
    assert "| A student | 2 | 2.0 min |\n| A reader | 1 | 0.1 min |\n" in text
    assert "load average up to 4" in text


def test_only_what_is_between_the_markers_is_replaced(measured):
    text = with_figures(PAGE, measured)
    head, _, rest = text.partition(BEGIN)
    table, _, tail = rest.partition(END)
    assert (head, tail) == ("# Before\n", "\n## After\n")
    assert "old figures" not in text
    (row,) = [line for line in table.splitlines() if line.startswith("| cifar10/airnet")]
    assert "| 2 |" in row
    assert "95.00" in row
    assert "2 of 2 (94%)" in row
    assert with_figures(text, measured) == text


def test_every_run_has_a_row_and_samples_are_apart(measured):
    keep(measured, builders.record(id="bbbb1111", recipe_name="mnist/base", seeds=[0]))
    keep(measured, builders.record(id="cccc2222", recipe_name="digits/quick", seeds=[0], smoke_test=True))
    text = with_figures(PAGE, measured)
    measurements, _, samples = text.partition("(smoke test:")
    assert [name in measurements for name in ("cifar10/airnet", "mnist/base", "digits/quick")] == [True, True, False]
    assert "digits/quick" in samples


@pytest.mark.parametrize("text", [f"{BEGIN} no end", f"no beginning {END}", f"{END} and {BEGIN}"])
def test_a_marker_without_its_other_half_is_an_error(measured, text):
    with pytest.raises(ValueError, match="needs a <!-- measured: end --> after it"):
        with_figures(text, measured)


def test_an_unknown_name_is_an_error(measured):
    with pytest.raises(ValueError, match="measured: begin chart: use tables, folder NAME, strategies NAME"):
        with_figures(f"<!-- measured: begin chart -->\n{END}", measured)


def test_a_command_is_shown_with_what_it_prints(measured):
    command = f"python bench/query.py 'select count(*) as trials from trials' {measured} --format csv"
    text = with_figures(f"<!-- measured: begin $ {command} -->\n{END}", measured)
    assert f"```console\n$ {command}\ntrials\n2\n```" in text


def test_the_output_of_a_command_fits_a_page(measured):
    lines = output_of(["bench/compare.py", *two_sides(measured)]).splitlines()
    assert 80 < max(map(len, lines)) <= measured_tables.COLUMNS


def two_sides(measured):
    """A comparison whose columns are wider than the page."""
    keep(measured / "after", builders.record(id="bbbb1111", seeds=[0, 1]))
    return str(measured), str(measured / "after")


def test_the_command_writes_and_checks(main, measured):
    status, text, out = main(PAGE, "--check")
    assert (status, text) == (1, PAGE)
    assert "out of date: README.md, page.md: run bench/measured_tables.py" in out
    status, new, _ = main(PAGE)
    assert (status, new) == (0, with_figures(PAGE, measured))
    status, text, out = main(new, "--check")
    assert (status, text) == (0, new)
    assert "up to date" in out


def test_a_changed_measurement_is_noticed(main, measured):
    _, page, _ = main(PAGE)
    (path,) = measured.glob("*/trials.jsonl")
    first, second = path.read_text().splitlines()
    path.write_text(first + "\n" + json.dumps(json.loads(second) | {"accuracy": 0.96}) + "\n")
    assert main(page, "--check")[0] == 1


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_a_page_is_up_to_date(page, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    text = page.read_text(encoding="utf-8")
    assert text == with_figures(text, MEASURED), "run bench/measured_tables.py"


def test_runs_of_a_scaling_have_tables_of_their_own(measured):
    before = with_figures(PAGE, measured)
    for size, run in ((1, "bbbb1111"), (2, "cccc2222")):
        keep(
            measured / "scaling",
            builders.record(id=run, seeds=[0], world_size=size, recipe={"epochs": 3, "batch_size": 64}),
        )
    after = with_figures(PAGE, measured)
    assert after.startswith(before[: before.index(END)])
    assert "strong scaling, 64 images per step" in after


def test_code_that_was_not_kept_is_that_of_the_older_runs_which_contributing_names():
    """A newer run of uncommitted code has its changes beside its record."""
    lost = {
        path.parent.parent.relative_to(MEASURED).as_posix()
        for path in MEASURED.rglob("run.json")
        if json.loads(path.read_bytes())["dirty"] and not (path.parent / "source" / "uncommitted.diff").exists()
    }
    assert lost == {"screening/mnist-faster", "ray/alone", "ray/ray"}
    text = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert all(f"`{folder}`" in text for folder in lost)
