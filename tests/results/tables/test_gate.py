"""What the gate decided, as people and other tools read it."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from results.gate import judge
from results.measure import Measured
from results.metrics import METRICS
from results.rules import rules
from results.tables.gate import annotations, benchmark_json, junit, table
from tests.results.builders import samples

RULES = rules(["time:3%", "accuracy:0.1"])


def run(seed, factor=1.0, **changes):
    return samples(factor * np.random.default_rng(seed).lognormal(0, 0.01, 12), **changes)


def judged(factor, **changes):
    return judge([run(seed, **changes) for seed in range(6)], [run(9, factor, **changes)], RULES)


def test_a_row_shows_both_sides_the_change_with_its_interval_and_the_decision():
    found = table(judged(1.1), "strict")
    time, accuracy = (dict(zip(found.headers, row, strict=True)) for row in found.rows)
    assert (time["metric"], time["decision"]) == ("time", "worse: without a confirmation run")
    assert re.fullmatch(r"\+\d+\.\d% \[\+\d+\.\d%, \+\d+\.\d%\], p = \S+", time["change"])
    assert re.fullmatch(r"1\.0\d\d s|0\.99\d\d s", time["baseline"])
    assert re.fullmatch(r"\d\.\d%", time["noise floor"])
    assert (accuracy["new"], accuracy["noise floor"], accuracy["decision"]) == ("95.00%", "–", "passed")


def test_an_improvement_is_reported_and_passes():
    found = judged(0.9)
    assert [one.decision for one in found] == ["better", "passed"]
    assert 'failures="0" errors="0" skipped="0"' in junit(found)
    caption = table(found, "strict").caption
    assert re.match(r"Better: cifar10/airnet time -\d+\.\d%\. Renew the baseline", caption)
    assert "Better:" not in table(judged(1.0), "strict").caption


def test_what_is_missing_is_an_error_and_its_row_has_the_baseline():
    baseline = [*(run(seed) for seed in range(6)), *(run(seed, recipe="b") for seed in range(6))]
    found = judge(baseline, [run(9)], rules(["time:3%"]))
    assert 'tests="2" failures="0" errors="1"' in junit(found)
    row = dict(zip(table(found, "strict").headers, table(found, "strict").rows[1], strict=True))
    assert (row["recipe"], row["new"], row["decision"]) == ("b", "–", "missing: no new run of this recipe")
    assert row["baseline"].endswith(" s")


def test_nothing_in_a_record_is_markup():
    name = "<b>&\x1b|"
    found = judged(1.1, recipe=name)
    text = table(found, "strict").markdown()
    assert "<b>" not in text.replace(r"\<b\>", "")
    xml = junit(found)
    assert '<testsuite name="gate" tests="2" failures="1" errors="0" skipped="0">' in xml
    assert '<testcase classname="&lt;b&gt;&amp; |" name="time">' in xml
    assert '<failure message="worse: without a confirmation run" />' in xml
    assert "\x1b" not in xml


def test_what_else_changed_is_shown_with_what_is_worse():
    baseline = [run(seed, notes={"torch": "2.13.0"}) for seed in range(6)]
    found = judge(baseline, [run(9, 1.1, notes={"torch": "2.14.0"})], RULES)
    said = "also changed: torch 2.13.0 → 2.14.0"
    assert f"Note: {said}." in table(found, "strict").caption
    assert f"Note: {said}." in table(found, "strict").markdown()
    assert f'<failure message="worse: without a confirmation run">{said}</failure>' in junit(found)
    assert annotations(found)[0].endswith(f"; {said}")
    assert not any("interleaved" in note for one in found for note in one.all_notes)
    passed = judge(baseline, [run(9, notes={"torch": "2.14.0"})], RULES)
    assert {one.decision for one in passed} == {"passed"}
    assert passed[0].all_notes == (said,)
    assert said not in table(passed, "strict").caption


def test_what_did_not_pass_is_an_annotation_in_one_line():
    (line,) = annotations(judged(1.1, recipe="a%\n::error::b"))
    assert line.startswith("::error title=gate worse::a%25 ::error::b: time +")
    assert "\n" not in line
    assert annotations(judged(0.9)) == []
    unknown = judge([run(0)], [run(9, 1.1)], RULES)
    assert annotations(unknown)[0].startswith("::warning title=gate unstable::cifar10/airnet: time ")


def test_the_json_is_what_github_action_benchmark_reads():
    time, error = json.loads(benchmark_json(judged(1.1)))
    assert (time["name"], time["unit"]) == ("cifar10/airnet: time", "s")
    assert 1.05 < time["value"] < 1.15
    assert (error["name"], error["unit"]) == ("cifar10/airnet: error", "%")
    assert error["value"] == pytest.approx(4.995)


def test_of_a_rate_the_json_holds_its_inverse_because_smaller_must_be_better():
    one = judged(1.0)[0]
    rate = replace(one.first, metric=METRICS["images-per-second"], after=Measured(50.0, 12))
    (entry,) = json.loads(benchmark_json([replace(one, first=rate)]))
    assert (entry["name"], entry["unit"], entry["value"]) == ("cifar10/airnet: seconds-per-image", "s", 0.02)
