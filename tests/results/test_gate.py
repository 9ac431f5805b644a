"""The gate: it trips on what is worse, and not on noise; its promises by simulation."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from results.compare import compare
from results.gate import judge, noise_floor, status
from results.rules import rules
from results.simulation import night_rates
from tests.results.builders import samples

RULES = rules(["time:3%"])


class Machine:
    """Times that spread by `trial` within a run, and by `night` between runs."""

    def __init__(self, seed=0, trial=0.01, night=0.004):
        self.random, self.trial, self.night = np.random.default_rng(seed), trial, night

    def run(self, factor=1.0, n=12, **changes):
        middle = factor * self.random.lognormal(0, self.night)
        return samples(middle * self.random.lognormal(0, self.trial, n), **changes)

    def baseline(self, runs=6, **changes):
        return [self.run(**changes) for _ in range(runs)]


def decision(*arguments, **given):
    (judgement,) = judge(*arguments, RULES, **given)
    return judgement.decision


def test_the_noise_floor_is_students_prediction_interval():
    times = [1.00, 1.01, 0.99, 1.02, 0.98]
    spread = np.std(np.log(times), ddof=1)
    expected = math.exp(stats.t.ppf(0.95, 4) * spread * math.sqrt(1.2)) - 1
    assert noise_floor(times, 0.05) == pytest.approx(expected)
    assert noise_floor([1.0], 0.05) is None
    assert noise_floor([1.0, 1.0], 0.05) == 0


def test_one_more_run_is_over_the_noise_floor_as_seldom_as_it_says():
    random = np.random.default_rng(0)
    over = 0
    for _ in range(4000):
        *baseline, new = random.lognormal(0, 0.01, 6)
        over += new / stats.gmean(baseline) > 1 + noise_floor(baseline, 0.05)
    assert 0.04 < over / 4000 < 0.06


def test_a_slowdown_is_worse_if_it_comes_again():
    machine = Machine()
    baseline, slow = machine.baseline(), machine.run(1.08)
    assert decision(baseline, [slow], rerun=lambda recipe: [machine.run(1.08)]) == "worse"
    assert decision(baseline, [slow], rerun=lambda recipe: [machine.run()]) == "not confirmed"
    assert decision(baseline, [slow]) == "worse"
    assert decision(baseline, [machine.run(0.9)]) == "better"


def test_a_confirmation_run_that_fails_leaves_it_undecided():
    machine = Machine()
    (judgement,) = judge(machine.baseline(), [machine.run(1.08)], RULES, rerun=lambda recipe: [])
    assert (judgement.decision, judgement.reason) == ("undecided", "confirmation run: its training failed")


def test_only_what_looks_worse_is_run_again_and_once_for_all_its_metrics():
    machine, asked = Machine(), []
    baseline = [*machine.baseline(), *machine.baseline(recipe="b")]

    def rerun(recipe):
        asked.append(recipe)
        return [machine.run(1.1, recipe=recipe)]

    both = rules(["time:3%", "time-to-target:3%"])
    found = judge(baseline, [machine.run(1.1), machine.run(recipe="b")], both, rerun)
    assert [one.decision for one in found] == ["worse", "worse", "passed", "passed"]
    assert asked == ["cifar10/airnet"]


def test_an_unstable_recipe_does_not_gate_and_if_none_gates_that_is_no_pass():
    machine, steady = Machine(night=0.05), Machine()
    noisy = machine.baseline(recipe="noisy")
    (judgement,) = judge(noisy, [machine.run(2, recipe="noisy")], RULES)
    assert judgement.decision == "unstable"
    assert judgement.floor > 0.03
    assert status([judgement]) == 2
    assert status([judgement, *judge(steady.baseline(), [steady.run()], RULES)]) == 0
    assert decision(steady.baseline(1), [steady.run()]) == "unstable"


def test_what_can_not_be_decided_is_no_pass():
    machine = Machine()
    some_diverged = samples([None, *[1.0] * 11], accuracy=(None, *[0.95] * 11), unfinished=1)
    assert status(judge(machine.baseline(), [some_diverged], RULES)) == 2
    assert decision(machine.baseline(), [machine.run(1.029, n=6)]) == "undecided", "its interval reaches over 3%"
    assert status([]) == 2


def diverged():
    return samples([None] * 12, accuracy=(None,) * 12, unfinished=12, reached=0)


def test_a_night_in_which_all_trials_diverge_is_worse():
    machine = Machine()
    (judgement,) = judge(machine.baseline(), [diverged()], RULES)
    assert (judgement.decision, status([judgement])) == ("worse", 1)
    assert judgement.reason == "12 of 12 trials diverged or failed, without a confirmation run"
    assert decision(machine.baseline(), [diverged()], rerun=lambda recipe: [diverged()]) == "worse"
    assert decision(machine.baseline(), [diverged()], rerun=lambda recipe: [machine.run()]) == "not confirmed"
    assert decision(machine.baseline(1), [diverged()]) == "worse", "no noise explains it"


def test_a_recipe_of_the_baseline_without_a_new_run_is_missing():
    machine = Machine()
    baseline = [*machine.baseline(), *machine.baseline(recipe="b")]
    found = judge(baseline, [machine.run()], RULES)
    assert [(one.first.recipe, one.decision) for one in found] == [("cifar10/airnet", "passed"), ("b", "missing")]
    assert found[1].first.before.value == pytest.approx(1.0, rel=0.05)
    assert status(found) == 2
    worse = judge(baseline, [machine.run(1.1)], RULES)
    assert status(worse) == 1
    only_one_was_asked_for = judge(baseline, [machine.run()], RULES, recipes=["cifar10/airnet"])
    assert status(only_one_was_asked_for) == 0


def test_a_recipe_that_only_other_machines_have_is_not_missing():
    machine = Machine()
    ours = machine.baseline()
    elsewhere = machine.baseline(recipe="b", facts=ours[0].facts | {"machine": "other"})
    assert [one.decision for one in judge([*ours, *elsewhere], [machine.run()], RULES)] == ["passed"]


def test_a_run_without_trials_in_the_baseline_is_named():
    machine = Machine()
    empty = samples([], origin="baseline/empty")
    (judgement,) = judge([*machine.baseline(), empty], [machine.run()], RULES)
    assert (judgement.decision, judgement.notes) == (
        "passed",
        ("baseline/empty of the baseline has no trial and is left out",),
    )
    (judgement,) = judge([empty], [machine.run()], RULES)
    assert (judgement.decision, status([judgement])) == ("undecided", 2)
    assert "baseline/empty" in judgement.notes[0]


def on(host, run):
    return replace(run, hosts=(host,) * len(run.seeds))


def test_hosts_of_a_class_are_to_the_gate_what_nights_are():
    machine = Machine()
    baseline = [on(host, machine.run()) for host in "aabbcd"]
    assert decision(baseline, [on("e", machine.run())]) == "passed"
    assert decision(baseline, [on("e", machine.run(1.08))]) == "worse"


def test_a_baseline_of_one_host_blames_no_other():
    machine = Machine()
    baseline = [on("a", run) for run in machine.baseline()]
    slow, quiet = machine.run(1.08), machine.run()
    assert decision(baseline, [on("a", slow)]) == "worse"
    (judgement,) = judge(baseline, [on("b", slow)], RULES)
    assert judgement.decision == "undecided"
    assert judgement.reason.startswith("worse, but trained on host b, and all runs of the baseline on host a: add")
    (judgement,) = judge(baseline, [on("b", quiet)], RULES)
    assert judgement.decision == "passed"
    assert judgement.notes == ("trained on host b, and all runs of the baseline on host a",)
    assert decision(baseline, [on("b", diverged())]) == "worse", "no host explains it"
    assert decision(machine.baseline(), [on("b", slow)]) == "worse", "where the baseline was trained is not known"


@pytest.mark.parametrize(("hosts", "moves"), [(4, False), (4, True), (1, True)])
def test_hosts_that_differ_raise_no_alarm(hosts, moves):
    """At most 5% of 300 nights, and three standard errors of that number."""
    assert night_rates(300, 0.0, 0.004, hosts=hosts, moves=moves)["alarms"] <= 0.088


def test_a_recipe_may_have_limits_of_its_own():
    machine = Machine()
    baseline, new = machine.baseline(), [machine.run(1.05)]
    own = {"cifar10/airnet": rules(["time:10%", "accuracy:0.1"])}
    assert [one.decision for one in judge(baseline, new, RULES)] == ["worse"]
    found = judge(baseline, new, RULES, own_rules=own)
    assert {one.first.metric.name: one.decision for one in found} == {"time": "passed", "accuracy": "passed"}


def test_better_needs_whole_runs_that_are_faster_too():
    """Trials that differ by 4% in a machine whose runs differ by as much."""
    machine = Machine(night=0.0, trial=0.001)
    nights = [1.0, 1.01, 0.99, 1.0, 0.96]
    baseline = [machine.run(night) for night in nights]
    assert decision(baseline, [machine.run(0.965)]) != "better"
    assert decision(machine.baseline(), [machine.run(0.9)]) == "better"


def test_a_lower_accuracy_is_worse():
    machine = Machine()
    low = machine.run(accuracy=tuple(0.945 + 1e-4 * (index % 2) for index in range(12)))
    (judgement,) = judge(machine.baseline(), [low], rules(["accuracy:0.1"]))
    assert (judgement.decision, status([judgement])) == ("worse", 1)


def test_the_baseline_is_that_of_the_machine_class():
    machine = Machine()
    ours = machine.baseline()
    other = [machine.run(3, facts=ours[0].facts | {"machine": "1 × other"}) for _ in range(6)]
    assert decision([*ours, *other], [machine.run()]) == "passed"
    with pytest.raises(ValueError, match="the baseline has no run on as ever × as ever: train one there 5 times"):
        judge(other, [machine.run()], RULES)


def test_a_recipe_that_the_baseline_lacks_on_this_machine_hides_no_other_verdict():
    machine = Machine()
    ours = machine.baseline()
    elsewhere = machine.baseline(recipe="b", facts=ours[0].facts | {"machine": "other"})
    found = judge([*ours, *elsewhere], [machine.run(1.1), machine.run(recipe="b")], RULES)
    assert [one.decision for one in found] == ["worse", "undecided"]
    assert found[1].reason == "no accepted run on as ever × as ever: train one there 5 times and keep the runs"


def test_trials_alone_raise_false_alarms():
    """Why the floor is there: within one night's spread, p-values flag nights that differ by chance."""
    machine = Machine(2, night=0.03)
    flagged = [
        compare([machine.run(n=30)], [machine.run(n=30)], RULES)[0].verdict in ("worse", "better") for _ in range(100)
    ]
    assert sum(flagged) > 30
