"""One rule for the times of a run, and one number wherever it is shown."""

import json
import statistics
from pathlib import Path

import pytest
from scipy import stats

from bench.measured_tables import all_tables
from results import store
from results.compare import compare
from results.flat import tables
from results.page.data import page_data
from results.record import Lap, Run
from results.samples import of_run
from results.sequential import nominal_levels, p_over_looks
from results.summary import summarize
from results.tables.runs import summary_tables
from tests.results.builders import missed, record, trial

FAILED = {"outcome": "failed", "reason": "x", "accuracy": None}


def timed(seed, seconds, make=trial, **changes):
    return make(seed, laps=[Lap(name="train", epoch=epoch, seconds=seconds) for epoch in (1, 2, 3)], **changes)


def run(*trials, **changes):
    return Run(record(seeds=[one.seed for one in trials] or [0], **changes), trials, Path("runs/x"))


def test_time_to_target_is_over_the_trials_that_reached_it():
    found = summarize(run(timed(0, 1.0), timed(1, 2.0), timed(2, 9.0, missed)), "strict").time_to_target
    assert (found.samples, found.trials, found.value, found.absent) == ((2.0, 4.0), 2, 3.0, "")


def test_total_time_is_over_all_trials_if_their_mean_reached_the_target():
    one = run(timed(0, 1.0, accuracy=0.96), timed(1, 2.0, accuracy=0.96), timed(2, 9.0, missed, accuracy=0.92))
    found = summarize(one, "strict").total_time
    assert (found.samples, found.trials, found.value, found.absent) == ((3.0, 6.0, 27.0), 3, 6.0, "")


@pytest.mark.parametrize(
    ("trials", "absent"),
    [
        ([], "no trial has ended"),
        ([timed(0, 1.0, missed)], "mean accuracy 90% misses the target 94%"),
        ([timed(0, 1.0), timed(1, 1.0, **FAILED)], "1 of 2 trials diverged or failed"),
        ([timed(0, 1.0), timed(1, 1.0, outcome="diverged", reason="x")], "1 of 2 trials diverged or failed"),
        ([trial(0, laps=())], "no trial has time"),
    ],
)
def test_without_a_total_time_there_is_a_reason(trials, absent):
    found = summarize(run(*trials), "strict").total_time
    assert (found.value, found.text, found.absent) == (None, "–", absent)


def test_without_a_time_to_target_there_is_a_reason():
    found = summarize(run(timed(0, 1.0, missed)), "strict").time_to_target
    assert (found.value, found.absent) == (None, "no trial has such a time; 0 of 1 reached the target")


def test_accuracy_has_its_interval_and_p_only_if_every_trial_has_one():
    accuracies = [0.95, 0.951, 0.952]
    found = summarize(run(*(timed(seed, 1.0, accuracy=one) for seed, one in enumerate(accuracies))), "strict")
    half = stats.t.ppf(0.975, 2) * statistics.stdev(accuracies) / 3**0.5
    assert found.accuracy.value == pytest.approx(0.951)
    assert found.accuracy_of.interval == pytest.approx((0.951 - half, 0.951 + half))
    assert found.p == pytest.approx(stats.ttest_1samp(accuracies, 0.94, alternative="greater").pvalue)
    broken = run(timed(0, 1.0), timed(1, 1.0, **FAILED))
    assert (summarize(broken, "strict").p, summarize(broken, "strict").accuracy_text) == (None, "95.00 (1 of 2)")


def test_an_unknown_protocol_or_metric_is_refused():
    with pytest.raises(ValueError, match="protocol='mine'"):
        summarize(run(), "mine")
    with pytest.raises(ValueError, match="metric='speed'"):
        summarize(run(), "strict", ["speed"])


# --- README, page, comparison and query tables of one set of runs, against arithmetic of the test's own ---------------

COUNTED = {"transfer", "preprocess", "build", "whiten", "pretrain", "augment", "train", "final_evaluate"}
RUNS = {
    "mnist/base": [(0.99, 3.0), (0.985, 1.0), (0.91, 2.0), (0.99, 5.0), (0.97, 4.0), (0.95, 8.0), (0.96, 7.0)],
    "mnist/init-small": [(0.35, 4.0), (0.95, 4.5), (0.36, 5.0), (0.35, 6.0), (0.35, 6.5), (0.36, 7.0)],
    "mnist/full/fast": [(0.95, 1.5), (0.96, 2.5), (0.97, 0.5), (0.95, 3.5), (0.96, 4.5), (0.97, 5.5)],
}


@pytest.fixture
def folder(tmp_path):
    for number, (name, trials) in enumerate(RUNS.items()):
        table = "techniques" if name.count("/") == 1 else None
        recipe = {"epochs": 3.0, "table": table}
        made = record(id=f"abcd000{number}", recipe_name=name, seeds=list(range(len(trials))), recipe=recipe)
        directory = store.create(tmp_path / "measured", made)
        for seed, (accuracy, seconds) in enumerate(trials):
            outcome = "reached" if accuracy >= 0.94 else "missed"
            epochs = [{"epoch": epoch, "accuracy": accuracy * epoch / 3} for epoch in (1, 2, 3)]
            laps = [{"name": "load", "seconds": 100.0}, {"name": "build", "seconds": 0.25}]
            laps += [{"name": "train", "epoch": epoch, "seconds": seconds} for epoch in (1, 2, 3)]
            laps += [{"name": "final_evaluate", "seconds": 0.5}]
            directory.append(trial(seed, outcome=outcome, accuracy=accuracy, epochs=epochs, laps=laps))
        directory.finish("finished")
    return tmp_path / "measured"


def expected(folder):
    """From the files alone: by recipe, mean accuracy in percent, total time and time to target."""
    found = {}
    for path in folder.glob("*/run.json"):
        trials = [json.loads(line) for line in (path.parent / "trials.jsonl").read_text().splitlines()]
        accuracies = [one["accuracy"] for one in trials]
        totals = [sum(lap["seconds"] for lap in one["laps"] if lap["name"] in COUNTED) for one in trials]
        to_target = [total - 0.5 for total, one in zip(totals, trials, strict=True) if one["accuracy"] >= 0.94]
        reached = sum(accuracies) / len(accuracies) >= 0.94
        found[json.loads(path.read_text())["recipe_name"]] = (
            100 * sum(accuracies) / len(accuracies),
            statistics.median(totals) if reached else None,
            statistics.median(to_target) if to_target else None,
        )
    return found


def number(text):
    return None if text == "–" else float(text.replace(",", ""))


def test_readme_page_comparison_and_query_show_the_same_numbers(folder):
    runs, wanted = store.find([folder]), expected(folder)
    assert wanted["mnist/init-small"][1] is None
    readme = {}
    for line in all_tables(folder).splitlines():
        if line.startswith("| recipe"):
            columns = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| mnist/"):
            cells = dict(zip(columns, (cell.strip() for cell in line.strip("|").split("|")), strict=True))
            readme[cells["recipe"]] = cells
    page = {one["name"]: one["cells"] for one in page_data(runs, [])["runs"]}
    query = {row["recipe"]: row for row in tables(runs, "strict").runs}
    rows = {
        (row.recipe, row.metric.name): row
        for one in runs
        for row in compare([of_run(one, "strict")], [of_run(Run(one.record, one.trials, Path("copy")), "strict")])
    }
    for name, (accuracy, total, to_target) in wanted.items():
        assert float(readme[name]["accuracy %"].split()[0]) == pytest.approx(accuracy, abs=0.006)
        assert number(readme[name]["total s"].split()[0]) == (total and pytest.approx(total, rel=1e-3))
        shown = page[name]
        assert shown["accuracy"][2] == pytest.approx(accuracy / 100)
        assert shown["total"]["$protocol"]["strict"][2] == total
        assert shown["target"]["$protocol"]["strict"][2] == to_target
        assert number(shown["total"]["$protocol"]["strict"][0]) == number(readme[name]["total s"].split()[0])
        assert query[name]["accuracy"] == pytest.approx(accuracy / 100)
        assert (query[name]["total_time"], query[name]["time_to_target"]) == (total, to_target)
        compared = {metric: rows[name, metric].before for metric in ("time", "time-to-target", "accuracy")}
        assert (compared["time"] and compared["time"].value) == total
        assert compared["time-to-target"].value == to_target
        assert compared["accuracy"].value == pytest.approx(accuracy / 100)


PLAN = {"looks": (16, 24, 32, 40)}
ACCURACIES = [0.94 + 0.001 * (seed % 5) for seed in range(16)]


def until_decided(**changes):
    trials = [timed(seed, 1 + seed / 100, accuracy=accuracy) for seed, accuracy in enumerate(ACCURACIES)]
    return run(*trials, **changes)


def test_intervals_and_p_of_a_run_that_looks_ended_are_at_the_level_of_its_look():
    plain, found = (summarize(until_decided(**plan), "strict") for plan in ({}, {"plan": PLAN}))
    level = nominal_levels(PLAN["looks"])[0]
    mean, error = statistics.fmean(ACCURACIES), stats.sem(ACCURACIES)
    assert found.accuracy_of.interval == pytest.approx(stats.t.interval(1 - level, 15, mean, error))
    assert plain.accuracy_of.interval == pytest.approx(stats.t.interval(0.95, 15, mean, error))
    beyond = stats.binom.cdf(range(16), 16, 0.5)
    for summary, alpha in ((plain, 0.05), (found, level)):
        left_out = sum(beyond <= alpha / 2) - 1
        times = sorted(summary.total_time.samples)
        assert summary.total_time.median.interval == (times[left_out], times[-1 - left_out])
    assert plain.p == pytest.approx(stats.ttest_1samp(ACCURACIES, 0.94, alternative="greater").pvalue)
    assert plain.p < found.p == p_over_looks(2 * plain.p, [(PLAN["looks"], 16)]) / 2


def test_a_p_over_a_half_stays_as_it_is():
    low = run(*[timed(seed, 1.0, accuracy=0.9 + seed / 1000) for seed in range(16)], plan=PLAN)
    plain = run(*low.trials)
    assert summarize(low, "strict").p == summarize(plain, "strict").p > 0.99


def test_the_interval_of_several_hosts_is_at_the_level_of_the_look():
    hosts = [{"hash": f"host {seed % 4}", "gpus": []} for seed in range(16)]
    trials = [timed(seed, 1 + seed / 100, accuracy=0.95, host=host) for seed, host in enumerate(hosts)]
    plain, found = (summarize(run(*trials, **plan), "strict").total_time.median for plan in ({}, {"plan": PLAN}))
    assert found.interval[0] < plain.interval[0] < plain.interval[1] < found.interval[1]


def test_the_caption_says_at_which_level_such_a_run_is():
    captions = [summary_tables([one], "strict")[0].caption for one in (until_decided(), until_decided(plan=PLAN))]
    assert ["hold at all looks together" in caption for caption in captions] == [False, True]
