"""The gate for interleaved trials: drift of the machine is no change, and a change is found under drift."""

from dataclasses import replace

import numpy as np
import pytest

from results.gate import judge_interleaved, status
from results.rules import rules
from results.sequential import nominal_levels, plan_looks
from tests.results.builders import samples

RULES = rules(["time:3%"])


def trainer(*factors, drift=0.3, noise=0.02):
    """Trains pairs, each slower by the next of `factors`, on a machine that drifts by `drift`; and what was trained."""
    random, trained, left = np.random.default_rng(1), [], list(factors)

    def train(recipe, trials):
        trained.append(recipe)
        machine = np.exp(drift * np.sin(np.linspace(0, 6, trials)))
        sides = [factor * machine * np.exp(random.normal(0, noise, trials)) for factor in (1.0, left.pop(0))]
        return tuple([samples(side, recipe=recipe, interleaved=f"pair {len(trained)}")] for side in sides)

    return train, trained


def test_the_same_code_passes_under_a_drift_of_thirty_percent():
    train, trained = trainer(1.0)
    (judgement,) = judge_interleaved({"some": (30,)}, train, RULES)
    assert (judgement.decision, status([judgement])) == ("passed", 0)
    assert judgement.first.change.paired
    assert trained == ["some"]


@pytest.mark.parametrize(("second", "decision", "code"), [(1.05, "worse", 1), (1.0, "not confirmed", 0)])
def test_a_slowdown_of_five_percent_is_worse_if_it_comes_again(second, decision, code):
    train, trained = trainer(1.05, second)
    (judgement,) = judge_interleaved({"some": (30,)}, train, RULES)
    assert (judgement.decision, status([judgement])) == (decision, code)
    assert judgement.first.change.size == pytest.approx(1.05, abs=0.02)
    assert judgement.again is not None
    assert trained == ["some", "some"]


def test_too_few_trials_are_undecided():
    train, _ = trainer(1.0)
    (judgement,) = judge_interleaved({"some": (4,)}, train, RULES)
    assert (judgement.decision, status([judgement])) == ("undecided", 2)
    assert "too few trials to decide" in judgement.reason


def test_what_is_slower_is_trained_again_once_for_all_its_metrics():
    train, trained = trainer(1.0, 1.2, 1.2)
    judgements = judge_interleaved({"steady": (30,), "slower": (30,)}, train, rules(["time:3%", "time-to-target:3%"]))
    assert [(one.first.recipe, one.decision) for one in judgements] == [
        ("steady", "passed"),
        ("steady", "passed"),
        ("slower", "worse"),
        ("slower", "worse"),
    ]
    assert trained == ["steady", "slower", "slower"]


@pytest.mark.parametrize(("trainings", "decision"), [(0, "missing"), (1, "undecided")])
def test_a_training_that_fails_leaves_its_recipe_without_a_decision(trainings, decision):
    train, trained = trainer(*[1.2] * trainings, 1.0)

    def train_at_first(recipe, trials):
        return train(recipe, trials) if recipe == "steady" or len(trained) < trainings else ([], [])

    failed, steady = judge_interleaved({"some": (30,), "steady": (30,)}, train_at_first, RULES)
    assert (failed.first.recipe, failed.decision) == ("some", decision)
    assert "its training failed" in failed.reason
    assert steady.decision == "passed"
    assert status([failed, steady]) == 2


def test_no_more_false_alarms_than_stated():
    alarms = 0
    for night in range(200):
        random = np.random.default_rng(night)

        def train(recipe, trials, random=random):
            sides = [np.exp(random.normal(0, 0.05, trials)) for _ in range(2)]
            return tuple([samples(side, recipe=recipe, interleaved="pair")] for side in sides)

        alarms += status(judge_interleaved({"some": (20,)}, train, RULES)) == 1
    assert alarms <= 10


LOOKS = plan_looks(40)


def seeded(train):
    """As `train`, with seeds that go on from one call to the next; and how many trials each call asked for."""
    asked = []

    def train_more(recipe, trials):
        first = sum(asked)
        asked.append(trials)
        return tuple([replace(one, seeds=tuple(range(first, first + trials)))] for (one,) in train(recipe, trials))

    return train_more, asked


def test_a_large_slowdown_ends_both_trainings_at_the_first_look():
    train, asked = seeded(trainer(1.2, 1.2)[0])
    (judgement,) = judge_interleaved({"some": LOOKS}, train, RULES)
    assert (judgement.decision, asked) == ("worse", [16, 16])
    assert judgement.first.change.level == pytest.approx(nominal_levels(LOOKS)[0])
    assert "stopped at look 1 of 4, 16 of 40 trials; level 0.079%" in judgement.all_notes


def test_trials_are_added_until_a_look_decides_and_all_of_them_are_pairs():
    train, asked = seeded(trainer(*[1.0] * 4, noise=0.025)[0])
    (judgement,) = judge_interleaved({"some": LOOKS}, train, RULES)
    assert (judgement.decision, judgement.first.change.paired) == ("passed", True)
    assert 1 < len(asked) <= 4
    assert asked == [16, 8, 8, 8][: len(asked)]
    assert judgement.first.change.n == sum(asked)


def test_the_last_look_may_be_undecided_and_asks_for_new_runs():
    train, asked = seeded(trainer(*[1.03] * 4, noise=0.05)[0])
    (judgement,) = judge_interleaved({"some": LOOKS}, train, RULES)
    assert (judgement.decision, sum(asked)) == ("undecided", 40)
    assert "in new runs" in judgement.reason


def test_a_training_that_fails_after_a_look_leaves_its_recipe_missing():
    train, _ = seeded(trainer(*[1.0] * 2, noise=0.2)[0])
    calls = []

    def train_at_first(recipe, trials):
        calls.append(trials)
        return train(recipe, trials) if len(calls) == 1 else ([], [])

    (judgement,) = judge_interleaved({"some": LOOKS}, train_at_first, RULES)
    assert (judgement.decision, calls) == ("missing", [16, 8])


def test_all_rules_must_be_decided():
    """The time to target is noise."""
    train, asked = seeded(trainer(*[1.0] * 8, noise=0.0)[0])
    random = np.random.default_rng(3)

    def train_both(recipe, trials):
        sides = train(recipe, trials)
        noise = [tuple(np.exp(random.normal(0, 0.1, trials))) for _ in sides]
        return tuple(
            [replace(one, values={**one.values, "time-to-target": times})]
            for ((one,), times) in zip(sides, noise, strict=True)
        )

    found = judge_interleaved({"some": LOOKS}, train_both, rules(["time:3%", "time-to-target:3%"]))
    assert [one.decision for one in found] == ["passed", "undecided"]
    assert sum(asked) == 40
