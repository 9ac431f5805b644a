"""The gate for interleaved trials: drift of the machine is no change, and a change is found under drift."""

import numpy as np
import pytest

from results.gate import judge_interleaved, status
from results.rules import rules
from tests.results.builders import samples

RULES = rules(["time:3%"])


def trainer(*factors, trials=30, drift=0.3, noise=0.02):
    """Trains pairs, each slower by the next of `factors`, on a machine that drifts by `drift`; and what was trained."""
    random, trained, left = np.random.default_rng(1), [], list(factors)

    def train(recipe):
        trained.append(recipe)
        machine = np.exp(drift * np.sin(np.linspace(0, 6, trials)))
        sides = [factor * machine * np.exp(random.normal(0, noise, trials)) for factor in (1.0, left.pop(0))]
        return tuple([samples(side, recipe=recipe, interleaved=f"pair {len(trained)}")] for side in sides)

    return train, trained


def test_the_same_code_passes_under_a_drift_of_thirty_percent():
    train, trained = trainer(1.0)
    (judgement,) = judge_interleaved(["some"], train, RULES)
    assert (judgement.decision, status([judgement])) == ("passed", 0)
    assert judgement.first.change.paired
    assert trained == ["some"]


@pytest.mark.parametrize(("second", "decision", "code"), [(1.05, "worse", 1), (1.0, "not confirmed", 0)])
def test_a_slowdown_of_five_percent_is_worse_if_it_comes_again(second, decision, code):
    train, trained = trainer(1.05, second)
    (judgement,) = judge_interleaved(["some"], train, RULES)
    assert (judgement.decision, status([judgement])) == (decision, code)
    assert judgement.first.change.size == pytest.approx(1.05, abs=0.02)
    assert judgement.again is not None
    assert trained == ["some", "some"]


def test_too_few_trials_are_undecided():
    train, _ = trainer(1.0, trials=4)
    (judgement,) = judge_interleaved(["some"], train, RULES)
    assert (judgement.decision, status([judgement])) == ("undecided", 2)
    assert "too few trials to decide" in judgement.reason


def test_what_is_slower_is_trained_again_once_for_all_its_metrics():
    train, trained = trainer(1.0, 1.2, 1.2)
    judgements = judge_interleaved(["steady", "slower"], train, rules(["time:3%", "time-to-target:3%"]))
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

    def train_at_first(recipe):
        return train(recipe) if recipe == "steady" or len(trained) < trainings else ([], [])

    failed, steady = judge_interleaved(["some", "steady"], train_at_first, RULES)
    assert (failed.first.recipe, failed.decision) == ("some", decision)
    assert "its training failed" in failed.reason
    assert steady.decision == "passed"
    assert status([failed, steady]) == 2


def test_no_more_false_alarms_than_stated():
    alarms = 0
    for night in range(200):
        random = np.random.default_rng(night)

        def train(recipe, random=random):
            sides = [np.exp(random.normal(0, 0.05, 20)) for _ in range(2)]
            return tuple([samples(side, recipe=recipe, interleaved="pair")] for side in sides)

        alarms += status(judge_interleaved(["some"], train, RULES)) == 1
    assert alarms <= 10
