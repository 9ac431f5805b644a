import io
from dataclasses import replace

import pytest
from rich.console import Console

from bench.training import events, summaries
from pipelines import recipe
from results import store
from results.record import Run
from tests.results import builders


@pytest.fixture
def kept(tmp_path):
    """An interrupted run of two trials of three, of which one missed the target."""
    run = store.create(tmp_path, builders.record(seeds=[0, 1, 2]))
    run.append(builders.trial(0))
    run.append(builders.missed(1))
    run.finish("interrupted", "Ctrl-C")
    return store.read(run.path)


def written(console):
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("is_main", "as_json", "kind"),
    [(False, True, summaries.Report), (True, True, summaries.Objects), (True, False, summaries.Tables)],
)
def test_who_prints_what(is_main, as_json, kind):
    report = summaries.make_report(Console(), "airbench", is_main=is_main, as_json=as_json, interleaved=False)
    assert type(report) is kind


def test_a_launched_process_reports_its_runs(kept, monkeypatch):
    sent = []
    monkeypatch.setenv(events.REPORTS, "1")
    monkeypatch.setattr(events, "send", sent.append)
    report = summaries.make_report(Console(), "airbench", is_main=True, as_json=False, interleaved=False)
    report.run_ended(kept)
    report.all_ended()
    assert sent == [events.RunRecorded("cifar10/airnet", str(kept.path), "interrupted")]


def test_records_and_warnings_are_named_in_one_line_each(tmp_path):
    path = tmp_path / "a long way to go" / "[run]"
    run = Run(builders.record(recipe_name="mnist/base"), (), path, ("line 3 [is] damaged",))
    console = Console(file=io.StringIO(), width=20)
    summaries.print_lines(console, [run])
    assert written(console).splitlines() == [f"record: {path}", "warning: line 3 [is] damaged"]


def test_after_the_first_run_there_is_a_hint_at_the_next(tmp_path):
    console = Console(file=io.StringIO(), width=160)
    first = Run(builders.record(recipe_name="digits/quick"), (), tmp_path)
    summaries.print_lines(console, [first, replace(first, path=tmp_path / "second")])
    assert written(console).count("next: accelerate launch bench/run.py mnist/base") == 1
    names = [line.partition("bench/run.py ")[2].split()[0] for line in summaries.NEXT_STEPS.splitlines()[:2]]
    assert set(names) <= set(recipe.names())


@pytest.mark.parametrize(
    ("names", "pairs"),
    [
        (["a", "b", "c"], ["ab", "bc"]),
        (["a+x=1", "a+x=2", "a+x=3"], ["a+x=1 a+x=2", "a+x=1 a+x=3"]),
        (["a+x=1", "a+x=2", "b+x=1", "b+x=2"], ["a+x=1 a+x=2", "b+x=1 b+x=2"]),
        (["a+x=1", "b", "c"], ["a+x=1 b", "bc"]),
        (["a"], []),
    ],
)
def test_a_step_is_compared_with_the_one_before_and_a_value_with_the_first(tmp_path, names, pairs):
    runs = [Run(builders.record(recipe_name=name), (), tmp_path / name) for name in names]
    found = [(one.record.recipe_name, other.record.recipe_name) for one, other in summaries.pairs_to_compare(runs)]
    assert found == [tuple(pair.split()) if " " in pair else tuple(pair) for pair in pairs]
