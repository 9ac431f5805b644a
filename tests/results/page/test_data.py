import json
from pathlib import Path

import pytest

from results import pools
from results.exports import dawnbench
from results.literature import published
from results.page import data
from results.page.data import page_data
from results.page.series import METRICS
from results.protocols import PROTOCOLS, seconds_to_target, total_seconds
from results.record import Plan, Run
from results.samples import of_run
from results.statistics import median_summary
from results.tables.runs import summary_tables
from tests.results import builders
from tests.results.page.planted import HOSTILE, job_array, machine, one_epoch, processes, run

LADDER = {"epochs": 3, "change": "a change", "table": "ladder"}


def shown(*runs):
    return page_data(runs, published().values())


def by(protocol, value):
    """What depends on the protocol, under this one."""
    return value["$protocol"].get(protocol)


def facts(one):
    return dict(one["facts"])


def test_it_is_plain_json():
    data = shown(run(), run(1, environment={"machine_class": HOSTILE, "load": float("nan")}))
    assert json.loads(json.dumps(data, allow_nan=False)) == data


@pytest.mark.parametrize("protocol", ["dawnbench", "airbench", "strict"])
@pytest.mark.parametrize(("figure", "seconds_of"), [("target", seconds_to_target), ("total", total_seconds)])
def test_times_are_those_of_the_protocol(protocol, figure, seconds_of):
    trials = [
        builders.trial(seed, laps=builders.laps(transfer=2 + seed, load=seed, final_evaluate=seed + 9))
        for seed in range(6)
    ]
    one = Run(builders.record(seeds=list(range(6))), trials, run().path)
    found = shown(one)["runs"][0]
    seconds = [seconds_of(trial, protocol) for trial in trials]
    assert [float(text.replace(",", "")) for text in by(protocol, found["times"][figure])] == pytest.approx(
        seconds, rel=1e-3
    )
    assert by(protocol, found["cells"][figure])[2] == median_summary(seconds).median


def test_a_miss_is_no_number_of_seconds():
    trials = tuple(builders.missed(seed, laps=builders.laps()) for seed in range(2))
    found = shown(Run(builders.record(seeds=[0, 1]), trials, run().path))["runs"][0]
    for protocol in PROTOCOLS:
        assert by(protocol, found["cells"]["target"]) == by(protocol, found["cells"]["total"]) == ["–", "", None]
        assert by(protocol, found["times"]["target"]) == ["–", "–"]
    assert by("strict", facts(found)["total time"]) == "– (mean accuracy 90% misses the target 94%)"


def test_trials_that_missed_count_in_what_reached_the_target():
    trials = (builders.trial(0), builders.trial(1), builders.missed(2, laps=builders.laps()))
    found = shown(Run(builders.record(), trials, run().path))["runs"][0]
    assert found["cells"]["reached"] == ["2 of 3", "", 2 / 3]
    assert by("strict", found["cells"]["target"])[2] == seconds_to_target(trials[0], "strict")
    assert [text == "–" for text in by("strict", found["times"]["target"])] == [False, False, True]


def test_a_run_without_a_trial_is_shown():
    found = shown(Run(builders.record(), (), run().path))["runs"][0]
    assert (found["target"], found["goal"]) == (None, "no trial yet")
    assert found["cells"]["accuracy"] == ["–", "", None]
    assert found["laps"] == {}
    assert facts(found)["reached"] == "–, 3 to come"


def test_a_run_that_was_trained_until_decided_says_where_it_stopped():
    plan = Plan(looks=(2, 3))
    two = tuple(builders.trial(seed) for seed in range(2))
    found = shown(Run(builders.record(plan=plan), two, run().path))["runs"][0]
    assert facts(found)["until decided"].startswith("stopped at look 1 of 2, 2 of 3 trials; level ")
    assert "until decided" not in facts(shown(Run(builders.record(), two, run().path))["runs"][0])


def test_the_curve_ends_each_epoch_with_its_accuracy():
    one = run(trials=1)
    (curve,) = shown(one)["runs"][0]["curves"]
    assert (curve["customdata"], curve["y"]) == ([1, 2, 3], [50, 94, 95])
    for protocol in ("dawnbench", "airbench", "strict"):
        assert by(protocol, curve["x"])[1] == seconds_to_target(one.trials[0], protocol)
    assert curve["marker"]["size"] == [3, 7, 3]


@pytest.mark.parametrize("target", [0.94, 1.0, 1e-5])
def test_the_layout_of_its_curves_is_found_by_the_goal_of_a_run(target):
    """Not by the target, whose digits Python and JavaScript write in different ways."""
    trials = [builders.trial(target=target, accuracy=1.0)]
    found = shown(Run(builders.record(), trials, run().path))
    lines = found["curves"][found["runs"][0]["goal"]][""]["shapes"]
    assert [line["y0"] for line in lines] == [100 * target]


def test_three_trials_have_a_median_curve():
    trials = [builders.trial(seed, laps=builders.laps(build=8 + 10 * seed**2)) for seed in range(3)]
    curves = shown(Run(builders.record(), trials, run().path))["runs"][0]["curves"]
    assert [curve["style"] for curve in curves] == ["faint"] * 3 + ["middle"]
    assert by("strict", curves[3]["x"]) == by("strict", curves[1]["x"])
    assert curves[3]["y"] == [50, 94, 95]


def test_trials_that_ended_at_different_epochs_have_no_median_curve():
    short = builders.trial(2, epochs=builders.trial().epochs[:2], outcome="diverged", reason="nan")
    one = Run(builders.record(), (builders.trial(0), builders.trial(1), short), run().path)
    assert [curve["style"] for curve in shown(one)["runs"][0]["curves"]] == ["trial"] * 3


def test_laps_are_means_over_the_trials_that_have_them():
    first, second = run().trials
    second = second.model_copy(update={"laps": tuple(lap for lap in second.laps if lap.name != "load")})
    laps = shown(Run(run().record, (first, second), run().path))["runs"][0]["laps"]
    assert laps["load"][0] == 1
    assert laps["train"][0] == 2000 + 20_000 + 200_000


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
    assert shown(run(recipe={"data": {"name": "mnist"} | options}))["runs"][0]["data_set"] == words


def test_data_of_ones_own_is_told_apart_by_its_content_where_that_is_known():
    def of(path, content=None):
        parts = ("train_images", "train_labels", "test_images", "test_labels")
        hashes = {"is_published": False} | dict.fromkeys(parts, content * 64) if content else None
        one = run(recipe={"data": {"name": "folder", "path": path}}, data=hashes)
        return shown(one)["runs"][0]["data_set"]

    assert of("/here/cats", "a") == of("/there/cats", "a") != of("/here/cats", "b")
    assert of("/here/cats", "a").startswith("folder, cats ")
    assert of("/here/cats") == "folder, /here/cats"


def test_an_imported_run_names_its_origin_and_has_times_by_one_protocol_alone(tmp_path):
    entry = dict.fromkeys(dawnbench.FIELDS, "x") | {"timestamp": "2018-04-20", "author": "Some Body"}
    (tmp_path / "a.json").write_text(json.dumps(entry), encoding="utf-8")
    (tmp_path / "a.tsv").write_text("epoch\thours\ttop1Accuracy\n1\t0.5\t90\n2\t1\t94.5\n", encoding="utf-8")
    (one,) = shown(dawnbench.read(tmp_path / "a.json"))["runs"]
    assert (one["origin"], one["data_set"]) == ("DAWNBench, Some Body", "cifar10")
    (curve,) = one["curves"]
    assert curve["x"] == {"$protocol": {"dawnbench": [1800, 3600]}}
    target = one["cells"]["target"]["$protocol"]
    assert {name: seconds for name, (_, _, seconds) in target.items()} == {"dawnbench": 3600}


def test_the_data_set_is_the_recipes_own_or_its_folder():
    own = run(recipe={"epochs": 3, "data": {"name": "digits"}})
    assert [one["data_set"] for one in shown(own, run(1))["runs"]] == ["digits", "cifar10"]


def test_histories_never_mix_machines_targets_or_smoke_tests():
    harder = run(6)
    harder = Run(harder.record, tuple(one.model_copy(update={"target": 0.95}) for one in harder.trials), harder.path)
    runs = [
        run(0),
        run(1),
        run(2, environment=machine("NVIDIA H100")),
        run(3, world_size=2),
        run(4, smoke_test=True),
        run(5, recipe_name="cifar10/other"),
        harder,
    ]
    (history,) = shown(*runs)["histories"]
    assert [one[0] for one in history["runs"]] == ["abcd0000", "abcd0001"]
    assert history["figures"][""]["data"][2]["x"] == [0, 1]


def test_a_step_of_the_history_is_found_with_its_size():
    (history,) = shown(*(run(day, factor=1.0 + 0.1 * (day >= 8)) for day in range(16)))["histories"]
    layout = history["figures"][""]["layout"]
    for protocol in ("dawnbench", "airbench", "strict"):
        (note,) = by(protocol, layout["annotations"])
        assert (note["x"], note["text"]) == (7.5, "+10.0%")
        assert [line["x0"] for line in by(protocol, layout["shapes"])] == [7.5]
    steps = {choice: by("strict", found) for choice, found in history["steps"].items()}
    assert steps == {"": [[7, 8, "+10.0%", True, ""]], "target": [[7, 8, "+10.0%", True, ""]], "accuracy": []}
    assert history["runs"][8] == ["abcd0008", f"{8:040x}", "2026-11-29"]
    assert by("strict", history["figures"]["accuracy"]["layout"]["annotations"]) == []


def test_a_step_down_is_for_the_better_and_ends_at_runs_that_have_a_time():
    nights = [run(day, factor=1.0 - 0.1 * (day >= 8)) for day in range(16)]
    nights[7] = one_epoch(7)
    (history,) = shown(*nights)["histories"]
    assert by("strict", history["steps"][""]) == [[6, 8, "-10.0%", False, ""]]


def test_successive_runs_of_one_commit_share_a_label():
    commits = ["a" * 40, "b" * 40, "b" * 40, "b" * 40, None, None, "a" * 40]
    runs = [run(number, commit=commit) for number, commit in enumerate(commits)]
    axis = shown(*runs)["histories"][0]["figures"][""]["layout"]["xaxis"]
    assert axis["ticktext"] == ["aaaaaaa", "bbbbbbb × 3", "2026-11-25", "2026-11-26", "aaaaaaa"]
    assert axis["tickvals"] == [0, 2, 4, 5, 6]
    assert axis["minor"]["tickvals"] == [0.5, 3.5, 4.5, 5.5]


def test_disturbed_runs_are_marked_here_and_in_their_history():
    found = shown(run(0), run(1, foreign_load=0.5))
    assert [one["marks"] for one in found["runs"]] == [[], ["busy"]]
    assert found["histories"][0]["figures"][""]["data"][2]["marker"]["symbol"] == ["circle", "diamond"]


def test_it_opens_with_the_data_set_of_most_runs_that_reached_a_target():
    cifar = [one_epoch(number) for number in range(3)]
    mnist = [run(number, recipe_name="mnist/base") for number in range(3, 5)]
    smoke_tests = [run(number, recipe_name="digits/quick", smoke_test=True) for number in range(5, 9)]
    found = shown(*cifar, *mnist, *smoke_tests)
    assert found["opening"] == "mnist"
    assert [one["ranked"] for one in found["runs"]] == [False] * 3 + [True] * 2 + [False] * 4
    assert shown()["opening"] == ""


@pytest.mark.parametrize(
    ("changes", "command"),
    [
        ({"command": ["bench/run.py", "mnist/*", "lr=[1, 2]"]}, "python bench/run.py 'mnist/*' 'lr=[1, 2]'"),
        ({"command": ["bench/run.py", "a"], "world_size": 2}, "accelerate launch --num_processes 2 bench/run.py a"),
        ({"command": ["paceline.record"]}, "paceline.record"),
        ({"command": []}, ""),
    ],
)
def test_the_command_of_a_run_can_be_pasted_into_a_shell(changes, command):
    assert shown(run(**changes))["runs"][0]["command"] == command


def test_a_run_whose_mean_missed_the_target_is_hollow_and_without_a_time():
    missed = run(1)
    trials = tuple(builders.missed(seed, laps=builders.laps()) for seed in range(2))
    (history,) = shown(run(0), Run(missed.record, trials, missed.path))["histories"]
    point = history["figures"][""]["data"][2]
    assert by("strict", point["y"])[0] > 0
    assert by("strict", point["y"])[1] is None
    filled, hollow = history["figures"]["accuracy"]["data"][2]["marker"]["color"]
    assert (filled, hollow) == ("var(--c0)", "var(--paper)")


def test_a_run_without_a_target_is_not_hollow():
    runs = [run(number, recipe={"target": None}) for number in range(2)]
    trials = tuple(builders.trial(seed, target=None, outcome="finished") for seed in range(2))
    (history,) = shown(*(Run(one.record, trials, one.path) for one in runs))["histories"]
    assert history["figures"][""]["data"][2]["marker"]["color"] == ["var(--c0)"] * 2


def test_a_run_says_how_many_trials_it_has():
    assert [one["count"] for one in shown(run(trials=3), run(1, trials=2))["runs"]] == [3, 2]


def test_a_step_between_runs_that_do_not_compare_says_why():
    def threads(number):
        return machine("AMD EPYC, 2 cores", threads={"intra_op": number, "inter_op": 2})

    nights = [run(day, factor=2.0 - (day >= 8), environment=threads(1 + (day >= 8))) for day in range(16)]
    nights[2] = run(2, factor=2.0, environment=threads(1), recipe_hash="fedcba987654")
    (history,) = shown(*nights)["histories"]
    (step,) = by("strict", history["steps"][""])
    assert step == [7, 8, "-50.0%", False, "threads: 1 a process → 2 a process"]
    lines = by("strict", history["figures"][""]["layout"]["shapes"])
    assert [line["x0"] for line in lines if line["line"]["dash"] == "dash"] == [1.5, 2.5, 7.5]


def test_a_ladder_is_the_newest_run_of_each_step_on_one_machine():
    def step(number, name, **changes):
        return run(number, recipe_name=name, recipe=LADDER, **changes)

    (ladder,) = shown(
        step(0, "cifar10/ladder/01-b"),
        step(1, "cifar10/ladder/00-a"),
        step(2, "cifar10/ladder/01-b", factor=0.5),
        step(3, "cifar10/ladder/02-c", environment=machine("NVIDIA H100")),
        run(4, recipe_name="mnist/base-tuned"),
        run(5, recipe_name="mnist/fixmatch"),
    )["ladders"]
    (table,) = ladder["tables"]
    assert by("strict", table)["ids"] == ["abcd0001", "abcd0002"]
    (bars,) = ladder["figures"]["total"]["data"]
    assert by("strict", bars["measure"]) == ["absolute", "relative", "total"]
    start, change, end = by("strict", bars["y"])
    assert start == pytest.approx(total_seconds(run().trials[0], "strict"), rel=1e-4)
    assert (change, end) == pytest.approx((-start / 2, start / 2), rel=1e-4)
    assert by("strict", bars["text"])[1] == "-50.0%"


def test_a_ladder_that_was_cut_short_has_the_time_of_an_epoch():
    def step(number, data):
        trials = tuple(builders.missed(seed, laps=builders.laps(), epochs=builders.trial().epochs) for seed in range(2))
        made = run(number, recipe_name=f"cifar10/ladder/0{number}-a", recipe=LADDER | {"data": data})
        return Run(made.record, trials, made.path)

    found = shown(*(step(number, data) for number, data in enumerate([{"name": "cifar10"}, {"name": "mnist"}] * 2)))
    assert [ladder["data_set"] for ladder in found["ladders"]] == ["cifar10", "mnist"]
    figures = found["ladders"][0]["figures"]
    assert figures["total"]["data"][0]["y"] == {"$protocol": {}}
    assert by("strict", figures[""]["layout"]["yaxis"]["title"]["text"]) == "s per epoch"
    assert by("strict", figures[""]["data"][0]["y"]) == [111_000, 0, 111_000]


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
    (scaling,) = shown(*runs)["scalings"]
    medians = [trace for trace in scaling["figures"][""]["data"] if "name" in trace]
    assert {trace["name"]: trace["x"] for trace in medians} == {
        "strong, DDP": [1, 2],
        "weak, DDP": [1, 2],
        "strong, FSDP": [1, 4],
    }
    rate = 300 / 333_000
    strong = next(trace for trace in medians if trace["name"] == "strong, DDP")
    assert by("strict", strong["y"]) == pytest.approx([rate, 2 * rate], rel=1e-4)


def test_what_would_be_in_proportion_rises_for_images_and_falls_for_times():
    (scaling,) = shown(processes(0, 1), processes(1, 4, factor=0.5))["scalings"]
    for choice, ratio in (("", 4), ("total", 1 / 4)):
        *_, ideal = scaling["figures"][choice]["data"]
        first, last = by("strict", ideal["y"])
        assert last / first == pytest.approx(ratio, rel=1e-4)


def test_images_per_second_are_those_of_augmentation_and_training():
    assert shown(run(factor=1e-3))["runs"][0]["trials"][0][4] == "0.9009"


def test_published_figures_name_their_data_set():
    assert {figure["data_set"] for figure in shown()["published"]} == {"cifar10", "cifar100", "mnist"}


def test_of_many_runs_the_newest_of_each_recipe_are_shown_in_detail(monkeypatch):
    monkeypatch.setattr(data, "DETAILED", 3 * len(run().trials))
    runs = [run(number, recipe_name=name) for number, name in enumerate(["a/old", "b/x", "b/x", "b/x", "c/y"])]
    shown = page_data(runs, [])
    assert [bool(one["trials"]) for one in shown["runs"]] == [True, False, False, True, True]
    assert ["facts" in one for one in shown["runs"]] == [True, False, False, True, True]
    assert shown["detailed"] == 3
    assert all(one["cells"]["accuracy"][0] == "95.00" for one in shown["runs"])


def test_a_page_from_samples_is_that_from_trials():
    runs = [run(number) for number in range(3)]
    samples = {one.record.id: {name: of_run(one, name, METRICS) for name in PROTOCOLS} for one in runs}
    assert page_data(runs, [], samples) == page_data(runs, [])


def test_a_run_of_very_many_trials_lists_the_first(monkeypatch):
    monkeypatch.setattr(data, "TRIALS", 2)
    (one,) = page_data([run(trials=3)], [])["runs"]
    assert len(one["trials"]) == 2
    assert ["trials below", "the first 2 of 3"] in one["facts"]
    assert one["cells"]["reached"][0] == "3 of 3"


def test_a_run_says_how_near_its_recipe_is_to_its_source():
    facts = dict(shown(run(recipe_name="cifar10/airbench94"))["runs"][0]["facts"])
    assert facts["agreement of the recipe as it ships"] == "12 steps to 1e-12 in float64"
    assert facts["source of the recipe"].startswith("KellerJordan/cifar10-airbench")
    assert "float16" in facts["differs from its source"]
    assert "source of the recipe" not in dict(shown(run(recipe_name="mine"))["runs"][0]["facts"])


def test_a_run_without_a_target_shows_rates_and_no_accuracy():
    none = {"target": None, "outcome": "finished", "accuracy": None, "accuracy_plain": None, "epochs": ()}
    record = builders.record(seeds=[0], recipe={"epochs": 3, "target": None, "data": {"name": "made-up"}})
    (one,) = shown(Run(record, [builders.trial(**none)], Path("runs/x")))["runs"]
    assert (one["goal"], one["has_no_target"]) == ("without a target", True)
    assert one["cells"]["rate"][2] == pytest.approx(300 / 333_000)
    assert not {"accuracy %", "reached", "target", "time to target"} & facts(one).keys()
    assert {"images/s", "ms per step"} <= facts(one).keys()


def test_a_run_on_tokens_shows_tokens_a_second():
    none = {"target": None, "outcome": "finished", "accuracy": None, "accuracy_plain": None, "epochs": ()}
    tokens = {"name": "made-up-tokens", "tokens": {"sequences": 100, "length": 64, "vocabulary": 50}}
    record = builders.record(seeds=[0], recipe={"epochs": 3, "target": None, "data": tokens})
    (one,) = shown(Run(record, [builders.trial(**none)], Path("runs/x")))["runs"]
    assert (one["rate"], one["data_set"]) == ("tokens/s", "made-up-tokens, sequences of 64")
    assert one["cells"]["rate"][2] == pytest.approx(300 * 64 / 333_000)
    assert "tokens/s" in facts(one)


def test_a_job_array_is_one_row_and_its_runs_stand_behind_all_rows():
    page = shown(*job_array(0, tasks=4), run(9, recipe_name="alone"))
    pool, alone, *members = page["runs"]
    assert (pool["id"], pool["members"]) == ("pool-abcd0000", [one["id"] for one in members])
    assert [one["pool"] for one in page["runs"]] == [None, None, *["pool-abcd0000"] * 4]
    assert (pool["count"], alone["count"], [one["count"] for one in members]) == (4, 2, [1] * 4)
    assert pool["note"].startswith("4 runs, 2 hosts")
    assert (pool["command"], alone["members"], members[2]["seeds"]) == ("", [], "2")
    assert (pool["label"], alone["label"]) == ("cifar10/airnet 4 runs", "alone abcd0009")


def test_a_row_has_the_numbers_that_show_prints():
    tasks = job_array(0, tasks=7, hosts=1)
    (merged,) = pools.pool(tasks)
    (table,) = summary_tables([merged], "strict")
    cells = dict(zip(table.headers, table.rows[0], strict=True))
    (pool, *_) = shown(*tasks)["runs"]
    assert "".join(by("strict", pool["cells"]["total"])[:2]) == cells["total s"]
    assert facts(pool)["accuracy %"].partition(";")[0] == cells["accuracy %"]
    assert facts(pool)["pooled"] == "7 runs, 1 host"
    assert facts(pool)["date"] == "2026-11-21 10:57:31 to 2026-11-27 10:57:31 UTC"
    assert len(pool["trials"]) == len(pool["times"]["total"]["$protocol"]["strict"]) == 7


def test_a_row_over_several_hosts_has_a_table_of_them():
    two, one = (shown(*job_array(0, tasks=6, hosts=hosts))["runs"][0] for hosts in (2, 1))
    assert one["hosts"] is None
    assert [row[0] for row in by("strict", two["hosts"])["rows"]] == ["host 1", "host 0"]


def test_the_runs_of_a_row_that_did_not_end_alike_are_counted():
    whole, failed = job_array(0, tasks=2), job_array(2, tasks=1, status="failed", reason="killed")
    (pool, *members) = shown(*whole, *failed)["runs"]
    assert facts(pool)["status"] == "2 running, 1 failed"
    assert members[2]["status"] == "failed"


def test_rows_are_in_the_order_of_their_newest_run():
    first, second = job_array(0, tasks=2)
    page = shown(first, run(5, recipe_name="other"), second)
    assert [one["id"] for one in page["runs"]] == ["abcd0005", "pool-abcd0000", "abcd0000", "abcd0001"]


def test_a_history_has_a_point_for_each_run_of_a_row_and_a_ladder_has_the_row():
    steps = [
        job_array(start, tasks=3, recipe_name=f"a/{start}", recipe={"change": "x", "table": "ladder"})
        for start in (0, 5)
    ]
    page = shown(*steps[0], *steps[1])
    assert [len(one["runs"]) for one in page["histories"]] == [3, 3]
    (ladder,) = page["ladders"]
    (table,) = ladder["tables"]
    assert by("strict", table)["ids"] == ["pool-abcd0000", "pool-abcd0005"]
    assert by("strict", table)["rows"][0][0] == "a/0 (3 runs, 2 hosts)"


def test_rows_are_shown_in_detail_before_their_runs(monkeypatch):
    monkeypatch.setattr(data, "DETAILED", 6)
    page = page_data([*job_array(0, tasks=4), run(9, recipe_name="alone")], [])
    assert ["facts" in one for one in page["runs"]] == [True, True, False, False, False, False]
