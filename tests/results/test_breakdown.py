"""In which laps a time changed: intervals of each lap, and parts that add up."""

import numpy as np
import pytest

from results.breakdown import OTHERS, REST, breakdown
from results.compare import compare
from results.facts import FACTS
from results.gate import judge
from results.protocols import seconds_to_target, total_seconds
from results.record import Lap, Run
from results.rules import rules
from results.samples import of_run
from results.sequential import level_of
from tests.results.builders import laps, missed, record, row, samples, trial

TRAINING = {"transfer": 0.002, "build": 0.1, "augment": 1.0, "train": 4.0, "evaluate": 2.0, "final_evaluate": 0.5}
STRICT = dict.fromkeys(FACTS, "as ever") | {"protocol": "strict"}


def side(seed, trials=20, slower=None, **changes):
    """Trials whose laps vary by 1% each; `slower` multiplies some. Evaluation is no lap of the protocol."""
    draw = np.random.default_rng(seed)
    noisy = {
        name: tuple((slower or {}).get(name, 1.0) * seconds * draw.lognormal(0, 0.01, trials))
        for name, seconds in TRAINING.items()
    }
    total = np.sum([seconds for name, seconds in noisy.items() if name != "evaluate"], axis=0)
    return samples(tuple(total), **({"facts": STRICT, "laps": {"time": noisy}} | changes))


def parts(before, after, metric="time"):
    found = breakdown(row(before, after, metric))
    return {part.name: part for part in found.parts}, found


def test_laps_of_runs_of_one_plan_have_intervals_at_the_level_of_their_look():
    sides = [[side(seed, interleaved="a")] for seed in (1, 2)]
    for together in (None, ((20, 25), 20)):
        (whole, *_) = compare(*sides, together=together)
        levels = {part.change.level for part in breakdown(whole).parts}
        assert levels == {whole.change.level} == {level_of([together] if together else [])}


@pytest.mark.parametrize("shared", [None, "together"], ids=["apart", "in pairs"])
def test_only_the_lap_that_is_slower_has_an_interval_away_from_no_change(shared):
    before, after = side(1, interleaved=shared), side(2, slower={"augment": 1.2}, interleaved=shared)
    found, whole = parts(before, after)
    assert list(found) == ["transfer", "build", "augment", "train", "final_evaluate"]
    changed = [name for name, part in found.items() if not part.change.interval[0] <= 1 <= part.change.interval[1]]
    assert changed == ["augment"]
    assert found["augment"].change.interval[0] < 1.2 < found["augment"].change.interval[1]
    assert found["augment"].change.paired == (shared is not None)
    assert sum(part.seconds for part in found.values()) == pytest.approx(whole.whole.seconds)
    assert whole.whole.seconds == pytest.approx(0.2, abs=0.05)
    assert whole.whole.change == row(before, after).change


def test_a_drift_of_pairs_is_in_no_lap():
    drift = tuple(np.linspace(1, 2, 20))
    steady = {"augment": drift, "train": tuple(4 * each for each in drift)}
    slower = {"augment": tuple(1.2 * each for each in drift), "train": steady["train"]}
    sides = [
        samples(tuple(np.sum([*one.values()], axis=0)), facts=STRICT, laps={"time": one}, interleaved="id")
        for one in (steady, slower)
    ]
    found, whole = parts(*sides)
    assert found["augment"].change.size == pytest.approx(1.2)
    assert found["train"].seconds == 0
    assert (
        found["augment"].seconds == pytest.approx(whole.whole.seconds) == pytest.approx(0.2 * found["augment"].before)
    )


def test_a_few_slow_trials_do_not_count():
    before, after = side(1), side(2)
    hiccup = {name: list(seconds) for name, seconds in after.laps["time"].items()}
    hiccup["train"][3] *= 30
    total = [sum(hiccup[name][index] for name in hiccup if name != "evaluate") for index in range(20)]
    slow = samples(tuple(total), facts=STRICT, laps={"time": {name: tuple(one) for name, one in hiccup.items()}})
    found, _ = parts(before, slow)
    assert abs(found["train"].seconds) < 0.1


def test_short_laps_are_put_together():
    short = {"transfer": 0.002, "preprocess": 0.003, "train": 4.0}
    sides = [
        samples((4.005,) * 8, facts=STRICT, laps={"time": {name: (one,) * 8 for name, one in short.items()}})
        for _ in range(2)
    ]
    found, _ = parts(*sides)
    assert list(found) == ["train", OTHERS]
    assert found[OTHERS].before == pytest.approx(0.005)


def test_a_lap_of_one_side_has_seconds_and_no_ratio():
    before = samples((4.0,) * 8, facts=STRICT, laps={"time": {"train": (4.0,) * 8}})
    after = samples((5.0,) * 8, facts=STRICT, laps={"time": {"train": (4.0,) * 8, "whiten": (1.0,) * 8}})
    found, _ = parts(before, after)
    assert (found["whiten"].seconds, found["whiten"].change) == (1.0, None)


def test_hosts_count_alike_however_many_trials_they_trained():
    seconds = {"before": [1.0] * 6 + [3.0] * 2, "after": [1.0] * 2 + [3.0] * 6}
    hosts = {"before": ("a",) * 6 + ("b",) * 2, "after": ("a",) * 2 + ("b",) * 6}
    sides = [
        samples(seconds[name], facts=STRICT, hosts=hosts[name], laps={"time": {"train": tuple(seconds[name])}})
        for name in seconds
    ]
    found, _ = parts(*sides)
    assert (found["train"].before, found["train"].after) == (2.0, 2.0)


def run(tmp_path, name, trials):
    return Run(record(id=f"run{name}", seeds=[one.seed for one in trials]), tuple(trials), tmp_path / name)


@pytest.mark.parametrize("protocol", ["dawnbench", "airbench", "strict", "cold"])
@pytest.mark.parametrize(("metric", "seconds"), [("time", total_seconds), ("time-to-target", seconds_to_target)])
def test_the_laps_of_a_record_add_up_under_every_protocol(tmp_path, protocol, metric, seconds):
    """Also `startup` and what passed between laps, which only `cold` counts."""
    one = trial(0, laps=(*laps(startup=500), Lap(name="total", seconds=800_000.0)))
    before, after = (of_run(run(tmp_path, name, [one]), protocol) for name in "ab")
    found, whole = parts(before, after, metric)
    assert whole.whole.before == pytest.approx(seconds(one, protocol))
    assert (REST in found) == (protocol == "cold")
    assert ("evaluate" in found) == (protocol == "cold")


def test_trials_that_missed_their_target_are_in_no_part_of_the_time_to_it(tmp_path):
    sides = [of_run(run(tmp_path, name, [trial(0), missed(1)]), "strict") for name in "ab"]
    found, _ = parts(*sides, "time-to-target")
    assert found["train"].before == 2000 + 20_000


def test_a_command_has_the_laps_that_it_says_and_a_rest(tmp_path):
    kept = (Lap(name="train", epoch=1, seconds=4.0), Lap(name="command", seconds=9.0))
    sides = [of_run(run(tmp_path, name, [trial(0, laps=kept, epochs=())]), "strict") for name in "ab"]
    found, _ = parts(*sides)
    assert {name: part.before for name, part in found.items()} == {"train": 4.0, REST: 5.0}


def test_what_is_no_change_of_a_time_has_none():
    assert breakdown(row(side(1), side(2), "accuracy")) is None
    assert breakdown(row(samples([1.0] * 8), samples([1.0] * 8))) is None


def test_a_sentence_names_the_laps_that_make_up_most_of_a_change():
    def where(**slower):
        return breakdown(row(side(1), side(2, slower=slower))).where

    assert where(train=1.1) == "+7.1% of the +7.2% in train"
    both = where(train=1.1, augment=1.3)
    assert both.endswith(" in augment")
    assert " in train, +" in both


def test_the_gate_says_where_a_time_is_worse():
    baseline = [side(seed) for seed in range(6)]
    (judgement,) = judge(baseline, [side(9, slower={"train": 1.2})], rules(["time:3%"]))
    assert judgement.decision == "worse"
    assert judgement.reason.startswith("without a confirmation run, +14.")
    assert judgement.reason.endswith("% in train")
    (judgement,) = judge(baseline, [side(9)], rules(["time:3%"]))
    assert (judgement.decision, judgement.reason) == ("passed", "")
