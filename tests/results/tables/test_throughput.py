"""Tables of runs without a target."""

from pathlib import Path

import pytest

from results import compare
from results.record import Lap, Run
from results.samples import of_run
from results.step_times import step_seconds
from results.summary import summarize
from results.tables.runs import summary_tables, trials_table
from results.units import per_second
from tests.results.builders import record, trial

SECONDS = (2.0, 1.0, 4.0)
RATES = ("images-per-second", "tokens-per-second")


def finished(seed=0, **changes):
    laps = [Lap(name="train", epoch=epoch, seconds=seconds) for epoch, seconds in enumerate(SECONDS, start=1)]
    none = {"target": None, "outcome": "finished", "accuracy": None, "accuracy_plain": None, "epochs": ()}
    return trial(seed, **(none | {"laps": laps, "steps": 30, "samples": 2100} | changes))


TOKENS = {"name": "made-up-tokens", "tokens": {"sequences": 700, "length": 1024, "vocabulary": 50257}}


def run(*trials, epochs=3, data=None, **changes):
    recipe = {"epochs": epochs, "target": None, "data": data or {"name": "made-up"}}
    seeds = [one.seed for one in trials]
    return Run(record(recipe=recipe, seeds=seeds, **changes), trials, Path("runs/x"))


def test_no_column_speaks_of_accuracy():
    one = run(finished())
    for table in (trials_table(one, "strict"), *summary_tables([one], "strict")):
        assert not any(
            word in header for header in table.headers for word in ("accuracy", "target", "reached", "epochs")
        )


def test_rates_and_percentiles_are_over_the_laps():
    (table,) = summary_tables([run(finished())], "strict")
    found = dict(zip(table.headers, table.rows[0], strict=True))
    assert (found["images/s"], found["ms per step"], found["5% to 95%"]) == ("300.0", "200.0", "110.0 to 380.0")


def test_runs_with_and_without_a_target_have_tables_of_their_own():
    with_target = Run(record(seeds=[0]), [trial()], Path("runs/y"))
    assert len(summary_tables([run(finished()), with_target], "strict")) == 2


def test_tokens_have_a_table_and_a_unit_of_their_own():
    images, tokens = summary_tables([run(finished()), run(finished(), data=TOKENS)], "strict")
    assert "tokens/s" not in images.headers
    found = dict(zip(tokens.headers, tokens.rows[0], strict=True))
    assert (found["tokens/s"], found["ms per step"]) == ("307,200", "200.0")
    assert "Tokens/s: over the same laps" in tokens.caption
    assert "tokens/s" in trials_table(run(finished(), data=TOKENS), "strict").headers


def test_the_rate_is_of_images_or_of_tokens():
    images, tokens = (of_run(run(finished(), data=data), "strict", RATES).values for data in (None, TOKENS))
    assert [images[name] for name in RATES] == [(300.0,), (None,)]
    assert [tokens[name] for name in RATES] == [(None,), (307_200.0,)]
    assert per_second(run(finished()), finished(laps=())) is None


def test_bytes_that_were_counted_are_shown():
    counted = {"bytes_per_step": 497e6, "formula_bytes": 498e6}
    (table,) = summary_tables([run(finished(), environment={"communication": counted})], "strict")
    found = dict(zip(table.headers, table.rows[0], strict=True))
    assert (found["MB sent per step"], found["by formula"]) == ("497", "498")


def test_what_is_published_of_a_recipe_follows():
    one = run(finished(), data=TOKENS, recipe_name="throughput/gpt2-124m")
    _, published = summary_tables([one], "strict")
    found = dict(zip(published.headers, published.rows[0], strict=True))
    assert (found["hardware"], found["tokens/s"], found["MFU"]) == ("A100", "135,600", "37.1%")
    assert len(summary_tables([run(finished(), data=TOKENS, smoke_test=True)], "strict")) == 1


@pytest.mark.parametrize(
    ("epochs", "steps", "expected"),
    [(3, 30, [0.2, 0.1, 0.4]), (2.5, 25, [0.2, 0.1, 0.8]), (3.0, 30, [0.2, 0.1, 0.4])],
)
def test_the_last_epoch_may_be_cut_short(epochs, steps, expected):
    one = finished(steps=steps)
    assert step_seconds(run(one, epochs=epochs), one) == pytest.approx(expected)


def test_a_trial_that_diverged_has_no_steps_to_time():
    one = finished(outcome="diverged", reason="loss")
    assert step_seconds(run(one), one) == []


def test_total_time_is_given_and_the_rest_says_why_not():
    summary = summarize(run(finished()), "strict")
    assert summary.total_time.value == 7.0
    assert summary.time_to_target.absent == "the recipe has no target"
    assert (summary.accuracy.value, summary.target) == (None, None)


def test_comparison_is_of_time_alone():
    sides = [[of_run(Run(run(finished()).record, [finished()], Path(name)), "strict")] for name in ("a", "b")]
    assert [row.metric.name for row in compare.compare(*sides)] == ["time"]


@pytest.mark.parametrize("changes", [{"target": 0.9}, {"outcome": "missed"}])
def test_an_outcome_goes_with_its_target(changes):
    with pytest.raises(ValueError, match="contradicts the target"):
        finished(**changes)
