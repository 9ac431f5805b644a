"""What commands print with `--json`: one object a line. Their JSON schemas are in docs/json.md."""

from pydantic import BaseModel, ConfigDict

from results import marks
from results.gate import Decision, Judgement
from results.protocols import seconds_to_target, total_seconds
from results.record import Outcome, Run, Status, TrialRecord
from results.units import per_second, unit_of


class _Object(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class TrialObject(_Object):
    """A trial."""

    seed: int
    """seed of its random numbers"""
    outcome: Outcome
    """how it ended"""
    accuracy: float | None
    """after the last epoch, as a fraction"""
    time_to_target: float | None
    """seconds; null if it did not reach the target"""
    total_time: float | None
    """seconds; null if it did not finish"""
    rate: float | None
    """images or tokens per second of augmentation and training; null if unknown"""
    marks: list[str]
    """what disturbed the trial, such as `busy` or `throttled`"""


class RunObject(_Object):
    """A run, as `bench/run.py`, `bench/scale.py` and `bench/sweep.py` print it."""

    recipe: str
    """name"""
    path: str
    """directory of the record"""
    status: Status
    """`running`, or how the run ended"""
    smoke_test: bool
    """true for a smoke test, whose numbers mean nothing"""
    processes: int
    """number of processes that trained together"""
    protocol: str
    """which laps the times count"""
    target: float | None
    """accuracy to reach, as a fraction; null where the recipe has none, and before a trial has ended"""
    unit: str
    """unit of `rate`: `images/s` or `tokens/s`"""
    missing_seeds: list[int]
    """seeds without a trial"""
    trials: list[TrialObject]
    """the trials in the order in which they ended"""


class VerdictObject(_Object):
    """A verdict of `bench/gate.py` on one metric of a recipe."""

    recipe: str
    """name"""
    metric: str
    """as `--fail-on` names it"""
    decision: Decision
    """what the gate decided"""
    reason: str
    """reason for the decision; empty if the numbers show it"""
    baseline: float | None
    """median in the unit of the metric, or mean accuracy as a fraction"""
    new: float | None
    """the same for the new runs"""
    change: float | None
    """ratio of times, or difference of accuracies"""
    low: float | None
    """lower end of the 95% interval of `change`"""
    high: float | None
    """upper end of the 95% interval of `change`"""
    confirmation: float | None
    """change in the confirmation run"""
    noise_floor: float | None
    """slow-down that runs of the same code show by chance, as a fraction"""
    notes: list[str]
    """what else differs, such as commits"""


def trial_object(run: Run, trial: TrialRecord, protocol: str) -> TrialObject:
    """A trial, timed by a protocol."""
    return TrialObject(
        seed=trial.seed,
        outcome=trial.outcome,
        accuracy=trial.accuracy,
        time_to_target=seconds_to_target(trial, protocol),
        total_time=total_seconds(trial, protocol),
        rate=per_second(run, trial),
        marks=list(marks.counts([trial])),
    )


def run_object(run: Run, protocol: str) -> RunObject:
    """A run, timed by a protocol."""
    record = run.record
    return RunObject(
        recipe=record.recipe_name,
        path=str(run.path),
        status=record.status,
        smoke_test=record.smoke_test,
        processes=record.world_size,
        protocol=protocol,
        target=run.target,
        unit=unit_of(run).rate,
        missing_seeds=run.missing_seeds,
        trials=[trial_object(run, trial, protocol) for trial in run.trials],
    )


def verdict_object(judgement: Judgement) -> VerdictObject:
    """A verdict of the gate."""
    first, again = judgement.first, judgement.again
    interval = first.change.interval if first.change else None
    return VerdictObject(
        recipe=first.recipe,
        metric=first.metric.name,
        decision=judgement.decision,
        reason=judgement.reason,
        baseline=first.before and first.before.value,
        new=first.after and first.after.value,
        change=first.change and first.change.size,
        low=interval and interval[0],
        high=interval and interval[1],
        confirmation=again and again.change and again.change.size,
        noise_floor=judgement.floor,
        notes=list(judgement.notes),
    )
