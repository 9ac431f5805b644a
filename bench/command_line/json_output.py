"""What commands print with `--json`: one object a line. Their JSON schemas are in docs/json.md."""

from pydantic import BaseModel, ConfigDict

from results import marks
from results.gate import Decision, Judgement
from results.metrics import rate_of
from results.protocols import seconds_to_target, total_seconds
from results.record import Outcome, Run, Status, TrialRecord
from results.slow_hosts import Difference, HostTimes, compare_hosts
from results.statistics import bounds, known_median
from results.summary import summarize
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


class HostObject(_Object):
    """The trials of pooled runs on one host."""

    host: str
    """hash of the host's name"""
    gpus: list[str]
    """UUIDs of the GPUs that its trials had"""
    trials: int
    """number of trials"""
    total_time: float | None
    """median in seconds; null if no trial finished"""
    change: float | None
    """ratio of its total times to those of all other hosts"""
    low: float | None
    """lower end of the 95% interval of `change`"""
    high: float | None
    """upper end of the 95% interval of `change`"""
    p: float | None
    """p of `change`, adjusted for the number of hosts"""
    difference: Difference | None
    """whether the host is slower or faster than the others; null if no difference is shown"""


class SummaryObject(_Object):
    """Runs that are pooled, as `bench/show.py` prints them. Null where the tables have a dash."""

    recipe: str
    """name"""
    runs: list[str]
    """directories of the records"""
    smoke_test: bool
    """true for smoke tests, whose numbers mean nothing"""
    machine: str
    """machine class"""
    processes: int
    """number of processes that trained together"""
    commit: str | None
    """commit of the code"""
    dirty: bool | None
    """true if files differed from the commit"""
    protocol: str
    """which laps the times count"""
    target: float | None
    """accuracy to reach, as a fraction"""
    trials: int
    """number of trials"""
    missing: int
    """number of trials that were asked for and have not ended"""
    reached: int
    """number of trials that reached the target"""
    accuracy: float | None
    """mean, as a fraction"""
    accuracy_low: float | None
    """lower end of its 95% interval"""
    accuracy_high: float | None
    """upper end of its 95% interval"""
    p: float | None
    """one-sided p of the mean accuracy against the target"""
    time_to_target: float | None
    """median in seconds, of the trials that reached the target"""
    time_to_target_low: float | None
    """lower end of its 95% interval"""
    time_to_target_high: float | None
    """upper end of its 95% interval"""
    total_time: float | None
    """median in seconds"""
    total_time_low: float | None
    """lower end of its 95% interval"""
    total_time_high: float | None
    """upper end of its 95% interval"""
    absent: str
    """why there is no total time; empty if there is one"""
    rate: float | None
    """median of images or tokens per second of augmentation and training"""
    unit: str
    """unit of `rate`: `images/s` or `tokens/s`"""
    hosts: list[HostObject]
    """the hosts, the slowest first; empty unless the trials are from several"""


class VerdictObject(_Object):
    """A verdict of `bench/gate.py` on one metric of a recipe."""

    recipe: str
    """name"""
    metric: str
    """as `--fail-on` names it"""
    decision: Decision
    """what the gate decided"""
    reason: str
    """reason for the decision; empty if the numbers show it; of a time that is worse also its slower laps"""
    baseline: float | None
    """median in the unit of the metric, or mean accuracy as a fraction"""
    new: float | None
    """the same for the new runs"""
    trials: int | None
    """number of new trials, or of pairs; null where there is no new run"""
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
    """what else differs, such as `also changed: torch 2.13.0 → 2.14.0`, and runs of the baseline that are left out"""


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


def summary_object(run: Run, protocol: str) -> SummaryObject:
    """A run, pooled or not, as the tables sum it up; timed by a protocol."""
    record, summary = run.record, summarize(run, protocol, [rate_of(run).name])
    accuracy_low, accuracy_high = bounds(summary.accuracy_of)
    to_target_low, to_target_high = bounds(summary.time_to_target.median)
    total_low, total_high = bounds(summary.total_time.median)
    return SummaryObject(
        recipe=record.recipe_name,
        runs=[str(path) for path in run.pooled or (run.path,)],
        smoke_test=record.smoke_test,
        machine=run.machine,
        processes=record.world_size,
        commit=record.commit,
        dirty=record.dirty,
        protocol=protocol,
        target=summary.target,
        trials=summary.trials,
        missing=len(run.missing_seeds),
        reached=summary.reached,
        accuracy=summary.accuracy_of and summary.accuracy_of.mean,
        accuracy_low=accuracy_low,
        accuracy_high=accuracy_high,
        p=summary.p,
        time_to_target=summary.time_to_target.value,
        time_to_target_low=to_target_low,
        time_to_target_high=to_target_high,
        total_time=summary.total_time.value,
        total_time_low=total_low,
        total_time_high=total_high,
        absent=summary.total_time.absent,
        rate=summary.figures[rate_of(run).name].value,
        unit=unit_of(run).rate,
        hosts=[host_object(one) for one in compare_hosts(run, protocol)],
    )


def host_object(one: HostTimes) -> HostObject:
    """A host of a run."""
    low, high = bounds(one.change)
    return HostObject(
        host=one.host.hash,
        gpus=list(one.host.gpus),
        trials=len(one.trials),
        total_time=known_median(one.times),
        change=one.change and one.change.size,
        low=low,
        high=high,
        p=one.change and one.change.p,
        difference=one.difference,
    )


def verdict_object(judgement: Judgement) -> VerdictObject:
    """A verdict of the gate."""
    first, again = judgement.first, judgement.again
    low, high = bounds(first.change)
    return VerdictObject(
        recipe=first.recipe,
        metric=first.metric.name,
        decision=judgement.decision,
        reason=judgement.reason,
        baseline=first.before and first.before.value,
        new=first.after and first.after.value,
        trials=first.after and first.after.n,
        change=first.change and first.change.size,
        low=low,
        high=high,
        confirmation=again and again.change and again.change.size,
        noise_floor=judgement.floor,
        notes=list(judgement.all_notes),
    )
