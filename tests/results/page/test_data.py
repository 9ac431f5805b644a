"""What the page is given: texts and figures of each run, under every protocol that it was timed by."""

import json

import pytest

from results.exports import dawnbench
from results.literature import published
from results.page.data import data_set, page_data
from results.protocols import seconds_to_target, total_seconds
from results.record import Run
from results.statistics import median_summary
from tests.results import builders
from tests.results.page.planted import HOSTILE, machine, processes, run


def shown(*runs):
    return page_data(runs, published().values())


def under(value, protocol="strict"):
    return value["$protocol"].get(protocol)


def test_it_is_plain_json():
    data = shown(run(), run(1, environment={"machine_class": HOSTILE, "load": float("nan")}))
    text = json.dumps(data, allow_nan=False)
    assert json.dumps(json.loads(text)) == text


@pytest.mark.parametrize("protocol", ["dawnbench", "airbench", "strict"])
def test_times_are_those_of_the_protocols(protocol):
    runs = [run(trials=7)]
    found = shown(*runs)["runs"][0]
    for name, time in (("target", seconds_to_target), ("total", total_seconds)):
        seconds = [time(trial, protocol) for trial in runs[0].trials]
        assert [float(text.replace(",", "")) for text in under(found["times"][name], protocol)] == pytest.approx(
            seconds, rel=1e-3
        )
        text, spread, key = under(found["cells"][name], protocol)
        summary = median_summary(seconds)
        assert key == summary.median
        assert float(text.replace(",", "")) == pytest.approx(summary.median, rel=1e-3)
        assert spread.startswith(" [")


def test_a_run_that_missed_its_target_has_dashes_and_says_why():
    missed = Run(builders.record(seeds=[0]), (builders.missed(0),), run().path)
    found = shown(missed)["runs"][0]
    for name in ("target", "total"):
        assert under(found["cells"][name]) == ["–", "", None]
    facts = dict(found["facts"])
    assert under(facts["total time"]) == "– (mean accuracy 90.00% misses the target 94%)"


def test_a_run_without_a_trial_is_shown():
    found = shown(Run(builders.record(), (), run().path))["runs"][0]
    assert found["target"] is None
    assert found["cells"]["accuracy"] == ["–", "", None]
    assert (found["laps"], found["trials"], found["goal"]) == ({}, [], "no trial yet")
    assert dict(found["facts"])["reached"] == "–, 3 to come"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"limit": None, "evaluate": "test"}, "mnist"),
        ({"limit": 2048}, "mnist, 2048 images"),
        ({"evaluate": "validation"}, "mnist, held-out images"),
        ({"evaluate": "validation", "fold": 0, "folds": 5}, "mnist, fold 0 of 5"),
    ],
)
def test_runs_on_other_images_are_of_another_data_set(options, words):
    assert data_set(run(recipe={"data": {"name": "mnist"} | options})) == words


def test_the_data_set_is_the_recipes_own_or_its_folder():
    own = run(recipe={"epochs": 3, "data": {"name": "digits"}})
    assert [one["data_set"] for one in shown(own, run(1))["runs"]] == ["digits", "cifar10"]


def test_an_imported_run_says_where_it_is_from_and_has_one_protocol_alone(tmp_path):
    described = dict.fromkeys(dawnbench.FIELDS, "x") | {"timestamp": "2018-04-20", "author": "Some Body"}
    (tmp_path / "a.json").write_text(json.dumps(described), encoding="utf-8")
    (tmp_path / "a.tsv").write_text("epoch\thours\ttop1Accuracy\n1\t0.5\t90\n2\t1\t94.5\n", encoding="utf-8")
    (one,) = shown(dawnbench.read(tmp_path / "a.json"))["runs"]
    assert (one["origin"], one["data_set"]) == ("DAWNBench, Some Body", "cifar10")
    assert one["cells"]["target"] == {"$protocol": {"dawnbench": ["3,600", "", 3600]}}
    assert one["curves"][0]["x"] == {"$protocol": {"dawnbench": [1800, 3600]}}


def test_recipes_that_are_alike_are_written_once():
    data = shown(run(), run(1), run(2, recipe={"epochs": 4}))
    assert [one["recipe"] for one in data["runs"]] == [0, 0, 1]
    assert data["recipes"] == [{"epochs": 3, "optimizer": {"lr": 0.1}}, {"epochs": 4}]


def test_histories_never_mix_machines_targets_or_smoke_tests():
    runs = [
        run(0),
        run(1),
        run(2, environment=machine("NVIDIA H100")),
        run(3, world_size=2),
        run(4, smoke_test=True),
        run(5, recipe_name="cifar10/other"),
    ]
    histories = shown(*runs)["histories"]
    assert [history["ids"] for history in histories] == [["abcd0000", "abcd0001"]]
    assert histories[0]["key"] == "cifar10/airnet · cifar10 · NVIDIA H200 · 94%"


def test_a_step_of_the_history_is_found_and_its_size_written():
    (history,) = shown(*(run(day, factor=1.0 + 0.1 * (day >= 8)) for day in range(16)))["histories"]
    layout = history["figures"][""]["layout"]
    for protocol in ("dawnbench", "airbench", "strict"):
        (annotation,) = under(layout["annotations"], protocol)
        assert (annotation["x"], annotation["text"]) == (7.5, "+10.0%")
    assert under(layout["annotations"], "cold") == []
    assert under(history["steps"]["accuracy"]) == 0
    assert not history["changed"]


def test_a_run_that_missed_its_target_has_no_total_time_in_a_history():
    low = Run(run(1).record, tuple(builders.missed(seed) for seed in range(2)), run(1).path)
    (history,) = shown(run(0), low)["histories"]
    assert under(history["figures"][""]["data"][2]["y"])[1] is None
    accuracies = under(history["figures"]["accuracy"]["data"][2]["y"])
    assert accuracies == [95.0, 90.0]


def step(number, name, **changes):
    return run(number, recipe_name=name, recipe={"epochs": 3, "change": "a change", "table": "ladder"}, **changes)


def test_a_ladder_is_the_newest_run_of_each_step_on_one_machine():
    data = shown(
        step(0, "cifar10/ladder/01-b"),
        step(1, "cifar10/ladder/00-a"),
        step(2, "cifar10/ladder/01-b", factor=0.5),
        step(3, "cifar10/ladder/02-c", environment=machine("NVIDIA H100")),
        run(4, recipe_name="mnist/fixmatch"),
    )
    (ladder,) = data["ladders"]
    table = under(ladder["tables"][0])
    assert table["ids"] == ["abcd0001", "abcd0002"]
    assert [row[6] for row in table["rows"]] == ["–", "-50.0%"]
    first, change, end = under(ladder["figures"][""]["data"][0]["y"])
    assert change == pytest.approx(-first / 2, rel=1e-4)
    assert end == pytest.approx(first / 2, rel=1e-4)


def test_a_ladder_that_was_cut_short_shows_the_time_of_an_epoch():
    low = [
        Run(one.record, tuple(builders.missed(seed) for seed in range(2)), one.path)
        for one in (step(0, "cifar10/ladder/00-a"), step(1, "cifar10/ladder/01-b"))
    ]
    (ladder,) = shown(*low)["ladders"]
    figure = ladder["figures"][""]
    assert under(figure["layout"]["yaxis"]["title"]["text"]) == "s an epoch"
    assert under(figure["data"][0]["y"])[0] == pytest.approx(333_000 / 3)
    assert under(ladder["figures"]["total"]["data"][0]["y"]) is None


def test_scaling_is_shown_by_recipe_with_a_curve_and_tables_for_each_strategy():
    runs = [
        processes(0, 1),
        processes(1, 2),
        processes(3, 4, strategy="FSDP"),
        processes(4, 2, batch=1024),
        processes(5, 8, recipe_name="digits/other"),
        processes(6, 8, smoke_test=True),
    ]
    (found,) = shown(*runs)["scalings"]
    names = [trace["name"] for trace in found["figures"][""]["data"] if "name" in trace]
    assert names == ["strong, DDP", "weak, DDP", "strong, FSDP"]
    titles = [under(table)["title"].split(": ")[1].split(",")[0] for table in found["tables"]]
    assert titles == ["strong scaling", "weak scaling", "time to target", "strong scaling", "time to target"]


def test_published_figures_say_their_data_set():
    assert {figure["data_set"] for figure in shown()["published"]} == {"cifar10", "cifar100", "mnist"}
