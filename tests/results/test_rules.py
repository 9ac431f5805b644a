"""Rules as a person writes them."""

import pytest

from results.metrics import METRICS
from results.rules import DEFAULTS, Rule, parse, rules


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("time:5%", Rule("time", 0.05)),
        ("time-to-target:.5%", Rule("time-to-target", 0.005)),
        ("accuracy:0.1", Rule("accuracy", 0.001)),
        ("peak-memory:2%", Rule("peak-memory", 0.02)),
        ("energy:10%", Rule("energy", 0.1)),
    ],
)
def test_a_rule_is_a_metric_and_a_limit(text, rule):
    parsed = parse(text)
    assert (parsed.metric, parsed.limit) == (rule.metric, pytest.approx(rule.limit))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("time", "'' is not a limit of time: write time:5%"),
        ("time:5", "write time:5%"),
        ("time:0%", "write time:5%"),
        ("time:-5%", "write time:5%"),
        ("time:5%%", "write time:5%"),
        ("accuracy:1%", "write accuracy:0.1"),
        ("speed:5%", "metric='speed' is unknown: use one of time, time-to-target, accuracy"),
        ("", "metric='' is unknown"),
    ],
)
def test_anything_else_is_refused_with_what_to_write(text, message):
    with pytest.raises(ValueError, match=message):
        parse(text)


def test_two_rules_for_one_metric_are_refused():
    assert rules(["time:5%", "accuracy:0.1"]) == {"time": parse("time:5%"), "accuracy": parse("accuracy:0.1")}
    with pytest.raises(ValueError, match="two rules for one metric"):
        rules(["time:5%", "time:6%"])


def test_every_metric_has_a_limit_of_its_own():
    assert {name: rule.limit for name, rule in DEFAULTS.items()} == {name: one.limit for name, one in METRICS.items()}
