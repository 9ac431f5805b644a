import json
import sys

import pytest

from bench import measured_tables
from bench.measured_tables import BEGIN, END, MEASURED, README, with_tables
from results import store
from tests.results import builders

PAGE = f"# Before\n{BEGIN}\nold figures\n{END}\n## After\n"


@pytest.fixture
def measured(tmp_path):
    """A folder with one run of two trials, measured by the planted laps of the builders."""
    folder = tmp_path / "measured"
    keep(folder, builders.record(seeds=[0, 1]))
    return folder


def keep(folder, record):
    run = store.create(folder, record)
    for seed in record.seeds:
        run.append(builders.trial(seed))
    run.finish("finished")


@pytest.fixture
def main(tmp_path, measured, monkeypatch, capsys):
    """The command, for a README of ours."""
    readme = tmp_path / "README.md"
    monkeypatch.setattr(measured_tables, "README", readme)
    monkeypatch.setattr(measured_tables, "MEASURED", measured)

    def call(text, *arguments):
        readme.write_text(text)
        monkeypatch.setattr(sys, "argv", ["bench/measured_tables.py", *arguments])
        status = measured_tables.main()
        return status, readme.read_text(), capsys.readouterr().out

    return call


def test_only_what_is_between_the_markers_is_replaced(measured):
    text = with_tables(PAGE, measured)
    head, _, rest = text.partition(BEGIN)
    table, _, tail = rest.partition(END)
    assert (head, tail) == ("# Before\n", "\n## After\n")
    assert "old figures" not in text
    (row,) = [line for line in table.splitlines() if line.startswith("| cifar10/airnet")]
    assert "| 2 |" in row
    assert "95.00" in row
    assert "2 of 2 (94%)" in row
    assert with_tables(text, measured) == text


def test_every_run_has_a_row_and_samples_are_apart(measured):
    keep(measured, builders.record(id="bbbb1111", recipe_name="mnist/base", seeds=[0]))
    keep(measured, builders.record(id="cccc2222", recipe_name="digits/quick", seeds=[0], smoke_test=True))
    text = with_tables(PAGE, measured)
    measurements, _, samples = text.partition("(smoke test:")
    assert [name in measurements for name in ("cifar10/airnet", "mnist/base", "digits/quick")] == [True, True, False]
    assert "digits/quick" in samples


@pytest.mark.parametrize("text", ["no markers", f"{BEGIN} no end", f"no beginning {END}", f"{END} and {BEGIN}"])
def test_missing_markers_are_an_error(measured, text):
    with pytest.raises(ValueError, match="needs the markers <!-- measured: begin --> and <!-- measured: end -->"):
        with_tables(text, measured)


def test_the_command_writes_and_checks(main, measured):
    status, text, out = main(PAGE, "--check")
    assert (status, text) == (1, PAGE)
    assert "out of date: run bench/measured_tables.py" in out
    status, new, _ = main(PAGE)
    assert (status, new) == (0, with_tables(PAGE, measured))
    status, text, out = main(new, "--check")
    assert (status, text) == (0, new)
    assert "up to date" in out


def test_a_changed_measurement_is_noticed(main, measured):
    _, page, _ = main(PAGE)
    (path,) = measured.glob("*/trials.jsonl")
    first, second = path.read_text().splitlines()
    path.write_text(first + "\n" + json.dumps(json.loads(second) | {"accuracy": 0.96}) + "\n")
    assert main(page, "--check")[0] == 1


def test_the_readme_is_up_to_date():
    if not list(MEASURED.glob("*/run.json")):
        pytest.skip(f"no run is committed under {MEASURED}")
    text = README.read_text(encoding="utf-8")
    assert text == with_tables(text, MEASURED), "run bench/measured_tables.py"


def test_runs_of_a_scaling_have_tables_of_their_own(measured):
    before = with_tables(PAGE, measured)
    for size, run in ((1, "bbbb1111"), (2, "cccc2222")):
        keep(
            measured / "scaling",
            builders.record(id=run, seeds=[0], world_size=size, recipe={"epochs": 3, "batch_size": 64}),
        )
    after = with_tables(PAGE, measured)
    assert after.startswith(before[: before.index(END)])
    assert "strong scaling, 64 images a step" in after
