import json

import pytest

from results.exports import dawnbench
from results.literature import published
from results.page.data import page_data
from results.protocols import PROTOCOLS, seconds_to_target, total_seconds
from results.record import Run
from results.statistics import median_summary
from tests.results import builders
from tests.results.page.planted import HOSTILE, machine, processes, run


def shown(*runs):
    return page_data(runs, published().values())


def test_it_is_plain_json():
    data = shown(run(), run(1, environment={"machine_class": HOSTILE, "load": float("nan")}))
    assert json.loads(json.dumps(data, allow_nan=False)) == data


@pytest.mark.parametrize("protocol", ["dawnbench", "airbench", "strict"])
def test_times_are_those_of_the_protocols(protocol):
    one = run(trials=5)
    found = shown(one)["runs"][0]
    for figure, time in (("target", seconds_to_target), ("schedule", total_seconds)):
        seconds = [time(trial, protocol) for trial in one.trials]
        assert [trial[figure][protocol] for trial in found["trials"]] == pytest.approx(seconds, rel=1e-5)
        summary = median_summary(seconds)
        assert found["times"][figure][protocol] == {
            "n": 5,
            "of": 5,
            "median": pytest.approx(summary.median, rel=1e-5),
            "interval": pytest.approx(list(summary.interval), rel=1e-5),
        }


def test_a_miss_is_no_number_of_seconds():
    missed = Run(builders.record(seeds=[0]), (builders.missed(0),), run().path)
    found = shown(missed)["runs"][0]
    assert not found["enough"]
    assert set(found["times"]["target"].values()) == set(found["times"]["schedule"].values()) == {None}


def test_a_run_without_a_trial_is_shown():
    found = shown(Run(builders.record(), (), run().path))["runs"][0]
    assert found["target"] is found["accuracy"] is None
    assert found["laps"] == {}
    assert found["missing_seeds"] == [0, 1, 2]


def test_the_curve_ends_each_epoch_with_its_accuracy():
    trial = shown(run())["runs"][0]["trials"][0]
    assert trial["epochs"] == [1, 2, 3]
    assert trial["accuracies"] == [0.5, 0.94, 0.95]
    assert trial["seconds"]["strict"][trial["crossing"] - 1] == trial["target"]["strict"]


def test_laps_are_means_over_the_trials_that_have_them():
    first, second = run().trials
    second = second.model_copy(update={"laps": tuple(lap for lap in second.laps if lap.name != "load")})
    laps = shown(Run(run().record, (first, second), run().path))["runs"][0]["laps"]
    assert laps["load"] == 1
    assert laps["train"] == 2000 + 20_000 + 200_000


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        ({"limit": None, "evaluate": "test"}, "mnist"),
        ({"limit": 2048}, "mnist, 2048 images"),
        ({"evaluate": "validation"}, "mnist, held-out images"),
        ({"evaluate": "validation", "fold": 0, "folds": 5}, "mnist, fold 0 of 5"),
    ],
)
def test_runs_on_other_images_are_of_another_data_set(knobs, words):
    assert shown(run(recipe={"data": {"name": "mnist"} | knobs}))["runs"][0]["data_set"] == words


def test_an_imported_run_says_where_it_is_from_and_knows_one_protocol_alone(tmp_path):
    told = dict.fromkeys(dawnbench.FIELDS, "x") | {"timestamp": "2018-04-20", "author": "Some Body"}
    (tmp_path / "a.json").write_text(json.dumps(told), encoding="utf-8")
    (tmp_path / "a.tsv").write_text("epoch\thours\ttop1Accuracy\n1\t0.5\t90\n2\t1\t94.5\n", encoding="utf-8")
    (one,) = shown(dawnbench.read(tmp_path / "a.json"))["runs"]
    assert (one["origin"], one["data_set"]) == ("DAWNBench, Some Body", "cifar10")
    times = {name: time and time["median"] for name, time in one["times"]["target"].items()}
    assert times == {"dawnbench": 3600, "airbench": None, "strict": None, "cold": None}
    assert one["trials"][0]["seconds"] == {"dawnbench": [1800, 3600]}


def test_the_data_set_is_the_recipes_own_or_its_folder():
    own = run(recipe={"epochs": 3, "data": {"name": "digits"}})
    assert [one["data_set"] for one in shown(own, run(1))["runs"]] == ["digits", "cifar10"]


def test_histories_never_mix_machines_targets_or_samples():
    runs = [
        run(0),
        run(1),
        run(2, environment=machine("NVIDIA H100")),
        run(3, world_size=2),
        run(4, smoke_test=True),
        run(5, recipe_name="cifar10/other"),
    ]
    assert [history["runs"] for history in shown(*runs)["histories"]] == [[0, 1]]


def test_a_step_of_the_history_is_found_and_its_size_told():
    levels = shown(*(run(day, factor=1.0 + 0.1 * (day >= 8)) for day in range(16)))["histories"][0]["levels"]
    for protocol in ("dawnbench", "airbench", "strict"):
        before, after = levels["schedule"][protocol]
        assert (before["start"], after["start"]) == (0, 8)
        assert after["value"] / before["value"] == pytest.approx(1.1, rel=1e-4)
    assert levels["schedule"]["cold"] == []
    assert len(levels["accuracy"]) == 1


def test_a_ladder_is_the_newest_run_of_each_numbered_rung_on_one_machine():
    def rung(number, name, **changes):
        return run(number, recipe_name=name, recipe={"epochs": 3, "change": "a trick"}, **changes)

    data = shown(
        rung(0, "cifar10/ladder/01-b"),
        rung(1, "cifar10/ladder/00-a"),
        rung(2, "cifar10/ladder/01-b", factor=0.5),
        rung(3, "cifar10/ladder/02-c", environment=machine("NVIDIA H100")),
        rung(4, "mnist/base-tuned"),
        rung(5, "mnist/fixmatch"),
    )
    (ladder,) = data["ladders"]
    assert ladder["runs"] == [1, 2]
    assert set(ladder["seconds"]) == set(PROTOCOLS)
    assert ladder["seconds"]["strict"][1] == ladder["seconds"]["strict"][0] / 2


def test_a_ladder_that_was_cut_short_has_the_time_of_an_epoch():
    rungs = [
        run(number, recipe_name=f"cifar10/ladder/0{number}-a", recipe={"epochs": 3, "change": "a", "data": data})
        for number, data in enumerate([{"name": "cifar10"}, {"name": "cifar10", "limit": 256}] * 2)
    ]
    found = shown(*rungs)["ladders"]
    assert [(ladder["data_set"], ladder["runs"]) for ladder in found] == [
        ("cifar10", [0, 2]),
        ("cifar10, 256 images", [1, 3]),
    ]
    assert found[0]["epochs"] == [(3000 + 30_000 + 300_000) / 3] * 2


def test_scaling_is_strong_or_weak_and_each_strategy_begins_with_one_process():
    runs = [
        processes(0, 1),
        processes(1, 2),
        processes(2, 2),
        processes(3, 4, strategy="FSDP"),
        processes(4, 2, batch=1024),
        processes(5, 8, recipe_name="digits/other"),
        processes(6, 8, smoke_test=True),
        run(7, world_size=2),
    ]
    found = {(one["batch"], one["strategy"]): (one["worlds"], one["runs"]) for one in shown(*runs)["scalings"]}
    assert found == {
        ("batch 512 in all", "DDP"): ([1, 2], [0, 2]),
        ("batch 512 in all", "FSDP"): ([1, 4], [0, 3]),
        ("batch 512 a process", "DDP"): ([1, 2], [0, 4]),
    }


def test_the_images_of_a_second_are_those_of_augmentation_and_training():
    assert shown(run())["runs"][0]["trials"][0]["rate"] == pytest.approx(300 / 333_000, rel=1e-5)


def test_published_figures_say_their_data_set():
    assert {figure["data_set"] for figure in shown()["published"]} == {"cifar10", "cifar100", "mnist"}
