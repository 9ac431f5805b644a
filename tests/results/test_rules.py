"""Rules as a person writes them."""

import pytest

from results.rules import rules


def test_a_rule_is_a_metric_and_a_limit():
    texts = ["time:5%", "time-to-target:.5%", "accuracy:0.1", "peak-memory:2%", "energy:10%"]
    limits = {"time": 0.05, "time-to-target": 0.005, "accuracy": 0.001, "peak-memory": 0.02, "energy": 0.1}
    assert rules(texts) == pytest.approx(limits)


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
        rules([text])


def test_two_rules_for_one_metric_are_refused():
    with pytest.raises(ValueError, match="two rules for one metric"):
        rules(["time:5%", "time:6%"])
