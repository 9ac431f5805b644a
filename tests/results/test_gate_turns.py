"""The gate for trials that took turns: a drift of the machine is no change, and a change is found under any drift."""

import numpy as np
import pytest

from results.gate import judge_turns, status
from results.rules import rules
from tests.results.builders import samples

RULES = rules(["time:3%"])


def player(*factors, trials=30, drift=0.3, noise=0.02):
    """Each game slower by the next of `factors`, on a machine that drifts by `drift` within it. And what was played."""
    random, played, left = np.random.default_rng(1), [], list(factors)

    def play(recipe):
        played.append(recipe)
        machine = np.exp(drift * np.sin(np.linspace(0, 6, trials)))
        sides = [factor * machine * np.exp(random.normal(0, noise, trials)) for factor in (1.0, left.pop(0))]
        return tuple([samples(side, recipe=recipe, turns=f"game {len(played)}")] for side in sides)

    return play, played


def test_the_same_code_passes_under_a_drift_of_thirty_percent():
    play, played = player(1.0)
    (judgement,) = judge_turns(["some"], play, RULES)
    assert (judgement.decision, status([judgement])) == ("passed", 0)
    assert judgement.first.change.paired
    assert played == ["some"]


@pytest.mark.parametrize(("second", "decision", "code"), [(1.05, "worse", 1), (1.0, "not confirmed", 0)])
def test_a_slowdown_of_five_percent_is_worse_if_it_comes_again(second, decision, code):
    play, played = player(1.05, second)
    (judgement,) = judge_turns(["some"], play, RULES)
    assert (judgement.decision, status([judgement])) == (decision, code)
    assert judgement.first.change.size == pytest.approx(1.05, abs=0.02)
    assert judgement.again is not None
    assert played == ["some", "some"]


def test_too_few_trials_are_undecided():
    play, _ = player(1.0, trials=4)
    (judgement,) = judge_turns(["some"], play, RULES)
    assert (judgement.decision, status([judgement])) == ("undecided", 2)
    assert "more trials a side would do" in judgement.reason


def test_what_is_slower_is_played_again_once_for_all_its_metrics():
    play, played = player(1.0, 1.2, 1.2)
    judgements = judge_turns(["steady", "slower"], play, rules(["time:3%", "time-to-target:3%"]))
    assert [(one.first.recipe, one.decision) for one in judgements] == [
        ("steady", "passed"),
        ("steady", "passed"),
        ("slower", "worse"),
        ("slower", "worse"),
    ]
    assert played == ["steady", "slower", "slower"]


def test_no_more_false_alarms_than_stated():
    alarms = 0
    for night in range(200):
        random = np.random.default_rng(night)

        def play(recipe, random=random):
            sides = [np.exp(random.normal(0, 0.05, 20)) for _ in range(2)]
            return tuple([samples(side, recipe=recipe, turns="game")] for side in sides)

        alarms += status(judge_turns(["some"], play, RULES)) == 1
    assert alarms <= 10
