"""The record refuses what cannot be true and keeps everything else exactly."""

import json
import math
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from results.record import EpochResult, Lap, Plan, Run, RunRecord, TrialRecord
from tests.results.builders import laps, missed, record, trial

ROOT = Path(__file__).parents[2]


def test_nothing_in_results_imports_torch_or_the_pipelines():
    modules = [f"results.{path.stem}" for path in (ROOT / "results").glob("*.py")]
    assert "results.summary" in modules
    code = (
        f"import importlib, sys; [importlib.import_module(name) for name in {modules}]; "
        "print([name for name in sys.modules if name.split('.')[0] in ('torch', 'pipelines', 'bench', 'kernels')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"accuracy": 1.01}, "less than or equal to 1"),
        ({"accuracy": 95.0}, "less than or equal to 1"),
        ({"accuracy": -0.1}, "greater than or equal to 0"),
        ({"accuracy": math.nan}, "finite"),
        ({"target": 94}, "less than or equal to 1"),
        ({"steps": -1}, "greater than or equal to 0"),
        ({"accuracy": 0.93, "epochs": ()}, "no accuracy is at or over the target"),
        ({"outcome": "missed"}, "not under the target"),
        ({"outcome": "missed", "accuracy": None}, "not under the target"),
        ({"outcome": "diverged"}, "needs a reason"),
        ({"outcome": "failed", "reason": ""}, "needs a reason"),
        ({"outcome": "won"}, "outcome"),
        ({"laps": [{"name": "train", "seconds": -1e-9}]}, "greater than or equal to 0"),
        ({"laps": [{"name": "train", "seconds": math.inf}]}, "finite"),
        ({"laps": [{"name": "training", "seconds": 1}]}, "laps.0.name"),
        ({"laps": [{"name": "train", "epoch": 0, "seconds": 1}]}, "greater than or equal to 1"),
        (
            {"laps": [{"name": "total", "seconds": 1}, {"name": "train", "seconds": 1.1}]},
            "train took 1.1 s, total 1.0 s",
        ),
        ({"laps": [{"name": "total", "seconds": 1}] * 2}, "one total at most"),
        ({"epochs": [{"epoch": 2}, {"epoch": 1}]}, "do not increase"),
        ({"epochs": [{"epoch": 1}, {"epoch": 1}]}, "do not increase"),
        ({"colour": "blue"}, "Extra inputs"),
    ],
)
def test_a_trial_that_can_not_be_is_refused(changes, told):
    with pytest.raises(ValidationError, match=told):
        trial(**changes)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"seeds": [1, 2, 1]}, r"seeds \[1\] come more than once"),
        ({"seeds": []}, "at least 1"),
        ({"world_size": 0}, "greater than or equal to 1"),
        ({"created": datetime(2026, 1, 1)}, "timezone"),
        ({"id": "../x"}, "pattern"),
        ({"status": "done"}, "status"),
        ({"schema_version": 2}, "schema_version"),
        ({"colour": "blue"}, "Extra inputs"),
    ],
)
def test_a_run_that_can_not_be_is_refused(changes, told):
    with pytest.raises(ValidationError, match=told):
        record(**changes)


def test_a_run_refuses_a_foreign_trial():
    with pytest.raises(ValueError, match="seed=7 is not among the seeds"):
        record().check(trial(7))


def test_laps_may_not_add_up_to_more_than_the_total_in_one_process():
    halves = trial(laps=[Lap(name=name, seconds=0.6) for name in ("build", "train")] + [Lap(name="total", seconds=1)])
    with pytest.raises(ValueError, match=r"add up to 1.2 s, more than its total of 1.0 s"):
        record().check(halves)
    record(world_size=2).check(halves)  # each rank's own sum may be smaller than that of the maxima


def test_an_epoch_over_the_target_is_enough_to_have_reached():
    assert trial(accuracy=0.93).outcome == "reached"
    assert trial(accuracy=0.94, epochs=()).outcome == "reached"


def test_created_is_kept_in_utc():
    there = datetime(2026, 11, 21, 12, 57, 31, tzinfo=timezone(timedelta(hours=2)))
    assert record(created=there).created.tzinfo == UTC
    assert '"created":"2026-11-21T10:57:31Z"' in record(created=there).model_dump_json()


def test_records_are_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        trial().accuracy = 1.0


def test_what_json_does_not_have_is_written_as_text_that_reads_back_the_same():
    noted = trial(notes={"a": math.inf, "b": [-math.inf, (1, 2)], "c": math.nan, "d": "\udc80"})
    assert noted.notes == {"a": "Infinity", "b": ["-Infinity", [1, 2]], "c": "NaN", "d": "\\udc80"}
    assert TrialRecord.model_validate_json(noted.model_dump_json()) == noted


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_survives_strict_json(loss):
    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    text = trial(epochs=[EpochResult(epoch=1, train_loss=loss, accuracy=1)]).model_dump_json()
    json.loads(text, parse_constant=refuse)
    read = TrialRecord.model_validate_json(text).epochs[0].train_loss
    assert read == loss or (math.isnan(loss) and math.isnan(read))


fractions = st.floats(0, 1)
seconds = st.floats(0, 1e9)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
any_laps = st.lists(
    st.builds(
        Lap,
        name=st.sampled_from(["load", "train", "evaluate", "startup"]),
        epoch=st.none() | st.integers(1, 100),
        seconds=seconds,
        device_seconds=st.none() | seconds,
    ),
    max_size=4,
)


@given(seed=st.integers(0, 2**64), accuracy=fractions, kept=any_laps, notes=st.dictionaries(st.text(), values))
def test_a_trial_comes_back_as_it_was(seed, accuracy, kept, notes):
    before = trial(seed, accuracy=accuracy, target=accuracy, laps=kept, notes=notes)
    assert TrialRecord.model_validate_json(before.model_dump_json()) == before
    assert TrialRecord.model_validate(json.loads(before.model_dump_json())) == before


@given(
    recipe=st.dictionaries(st.text(), values, max_size=3),
    seeds=st.lists(st.integers(0, 2**127 - 1), unique=True, min_size=1, max_size=5),
    created=st.datetimes(timezones=st.just(UTC), min_value=datetime(2000, 1, 1)),
    command=st.lists(st.text(), max_size=3),
)
def test_a_run_comes_back_as_it_was(recipe, seeds, created, command):
    before = record(recipe=recipe, seeds=seeds, created=created, command=command)
    assert RunRecord.model_validate_json(before.model_dump_json()) == before


def test_a_plan_comes_back_as_it_was_and_need_not_be_there():
    plan = Plan(looks=(16, 24, 40), limits={"time": 0.05})
    before = record(plan=plan)
    assert RunRecord.model_validate_json(before.model_dump_json()).plan == plan
    assert plan.most == 40
    old = json.loads(record().model_dump_json())
    assert old.pop("plan") is None
    assert RunRecord.model_validate(old) == record()


@pytest.mark.parametrize("looks", [(), (8,), (8, 8), (16, 8), (0, 8)])
def test_a_plan_has_looks_that_increase(looks):
    with pytest.raises(ValidationError, match="looks"):
        Plan(looks=looks)


def test_what_readers_ask_of_a_run():
    run = Run(record(), (trial(0), missed(2)), Path("runs/x"))
    assert run.missing_seeds == [1]
    assert [one.seed for one in run.reached] == [0]
    assert run.accuracies == [0.95, 0.9]
    assert run.target == 0.94
    assert run.machine == "NVIDIA H200"
    assert Run(record(world_size=8), (), Path()).machine == "8 × NVIDIA H200"
    assert Run(record(environment={"machine_class": {"unknown": "no driver"}}), (), Path()).machine == "unknown"
    assert Run(record(), (), Path()).target is None


def test_laps_are_summed_by_name():
    assert trial(laps=laps(2)).seconds("train", "load") == 2000 + 20000 + 1
