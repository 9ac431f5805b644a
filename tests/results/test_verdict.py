import pytest

from results.metrics import METRICS
from results.statistics import Change
from results.verdict import decide


def test_a_small_significant_change_is_the_same_only_if_its_interval_is_inside_the_limit():
    metric = METRICS["time"]
    assert decide(Change(1.01, (1.005, 1.015), 0.001, 50), metric, 0.02) == ("same", "")
    assert decide(Change(1.015, (1.005, 1.025), 0.001, 50), metric, 0.02)[0] == "undecided"
    assert decide(Change(1.02, (1.005, 1.035), 0.001, 50), metric, 0.02) == ("worse", "")


def test_a_change_at_the_limit_cannot_be_decided_by_more_trials():
    verdict, reason = decide(Change(1.01999, (0.99, 1.05), 0.2, 50), METRICS["time"], 0.02)
    assert (verdict, reason.partition(";")[0]) == ("undecided", "the change is too close to the limit of 2%")
    assert reason.endswith("; with the limit time:3%, 400 more trials per side")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            Change(1.0, (0.96, 1.04), 0.9, 20),  # narrows as the square root: ± 1% from 320 trials on, 3% from 36
            "300 more trials per side (about 10 min) would decide if the change stays the same; "
            "with the limit time:3%, 16 more trials per side (about 32 s)",
        ),
        (
            Change(1.0, (0.985, 1.015), 0.9, 20),
            "25 more trials per side (about 50 s) would decide if the change stays the same; "
            "with the limit time:2% the verdict is same",
        ),
        (
            Change(1.0, (0.9, 1.1), 0.9, 20),  # 1% from 2,000 on, 5% from 80
            "1,980 more trials per side (about 66 min) would decide if the change stays the same; "
            "with the limit time:5%, 60 more trials per side (about 2 min)",
        ),
        (
            Change(1.0, (0.988, 1.012), 0.9, 20),
            "9 more trials per side (about 18 s) would decide if the change stays the same",
        ),
    ],
)
def test_what_would_decide_is_a_time_and_where_that_is_long_a_wider_limit(change, reason):
    assert decide(change, METRICS["time"], 0.01, seconds=2.0) == ("undecided", reason)


def test_accuracy_is_suggested_a_limit_in_points():
    reason = decide(Change(0.0, (-0.004, 0.004), 0.9, 20, none=0.0), METRICS["accuracy"], 0.001)[1]
    assert reason.endswith("; with the limit accuracy:0.3, 16 more trials per side")


@pytest.mark.parametrize(
    ("name", "change", "verdict"),
    [
        ("images-per-second", Change(1.1, (1.08, 1.12), 0.001, 9), "better"),
        ("images-per-second", Change(0.9, (0.88, 0.92), 0.001, 9), "worse"),
        ("peak-memory", Change(1.1, (1.08, 1.12), 0.001, 9), "worse"),
        ("accuracy", Change(0.004, (0.003, 0.005), 0.001, 9, none=0.0), "better"),
        ("accuracy", Change(-0.004, (-0.005, -0.003), 0.001, 9, none=0.0), "worse"),
    ],
)
def test_the_metric_knows_which_direction_is_worse(name, change, verdict):
    assert decide(change, METRICS[name], METRICS[name].limit)[0] == verdict
