"""The data of a run and of its trials, with the checks that they must pass.

Only raw samples are kept: every statistic is recomputed by whoever reads. A loss may be NaN or infinite, because that
is what a trial that diverged has to show; JSON has no such numbers, so that they are written as the texts "NaN",
"Infinity" and "-Infinity" and read back as numbers. No other number may be: an accuracy or a time that is not finite
is refused. In the free-form parts (recipe, environment, notes) a number that is not finite stays such a text.
"""

import hashlib
import math
import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import pydantic.dataclasses
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from results.environment import Environment
from results.free_form import Options, options_of
from results.json_values import Count, JsonObject, Line, Positive, Text
from results.writer import Writer

SCHEMA_VERSION = 4

LapName = Literal[
    "startup",
    "load",
    "transfer",
    "preprocess",
    "build",
    "whiten",
    "pretrain",
    "compile",
    "augment",
    "train",
    "evaluate",
    "final_evaluate",
    "total",
    "command",
]
"""`startup` runs from the start of the process until its first run begins to load its data, `total` from the start of
the process to the end of that run's first trial, all included. `command` is a whole process that was started for a
trial; the other laps of such a trial are what it says itself."""

Outcome = Literal["reached", "missed", "finished", "diverged", "failed"]
"""`finished`: came to its end, and the recipe has no target"""
Status = Literal["running", "finished", "interrupted", "failed"]

OUT_OF_MEMORY = "OutOfMemory"
"""how the reason says that a process had not enough memory: the name of the error, or how torch's begins"""

CLOCK_TOLERANCE = 1e-3
"""Seconds by which the laps may exceed `total`, whose beginning the system knows less sharply."""


Fraction = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(ge=0)]
Seed = Annotated[int, Field(ge=0, le=2**127 - 1)]
"""as a table of a database holds it"""
Loss = Annotated[float, Field(allow_inf_nan=True)]


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{moment} lies outside the years 1 to 9999 in UTC") from None


Utc = Annotated[AwareDatetime, AfterValidator(_in_utc)]


class _Kept(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, ser_json_inf_nan="strings")


@pydantic.dataclasses.dataclass(
    frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="forbid", allow_inf_nan=False)
)
class Lap:
    """A named, timed phase of one epoch (counted from 1) or of the whole trial, in seconds."""

    name: LapName
    epoch: Positive | None = None
    seconds: Seconds
    device_seconds: Seconds | None = None
    """by the device's own clock, where it has one"""


@pydantic.dataclasses.dataclass(
    frozen=True,
    slots=True,
    kw_only=True,
    config=ConfigDict(extra="forbid", allow_inf_nan=False, ser_json_inf_nan="strings"),
)
class EpochResult:
    """What was measured at the end of an epoch."""

    epoch: Positive
    """counted from 1"""
    train_loss: Loss | None = None
    accuracy: Fraction | None = None
    """on the test set by the recipe's rule, with test-time augmentation if it has any"""
    accuracy_plain: Fraction | None = None
    """on the test set, every image seen once and as it is"""
    train_accuracy: Fraction | None = None


class Spread(_Kept):
    """Minimum, median and maximum of the samples of one number."""

    min: float
    median: float
    max: float


class GpuActivity(_Kept):
    """What the GPU of one process did during a trial, from samples taken beside the training."""

    samples: Count
    sampling_seconds: Seconds
    """that the sampling thread spent in NVML"""
    sm_clock_mhz: Spread | None = None
    memory_clock_mhz: Spread | None = None
    temperature_c: Spread | None = None
    power_w: Spread | None = None
    throttle_reasons: dict[Text, Fraction] = {}
    """NVML's clocks event reasons, each with the share of the samples that gave it"""
    error: Text | None = None
    """why there are no samples"""


class Host(_Kept):
    """Where a trial was trained, in a run whose trials come from several hosts."""

    hash: Line
    """as `Environment.host_hash`"""
    gpus: tuple[Line, ...] = ()
    """UUIDs of those that it had to itself, or shared; empty on a CPU"""


class TrialRecord(_Kept):
    """One seed of one recipe, trained once under the clock."""

    index: Count
    seed: Seed
    outcome: Outcome
    reason: Text | None = None
    """why it diverged or failed"""
    accuracy: Fraction | None = None
    """at the end, by the recipe's rule"""
    accuracy_plain: Fraction | None = None
    target: Fraction | None
    """None: the recipe has none"""
    epochs: tuple[EpochResult, ...] = ()
    laps: tuple[Lap, ...] = ()
    steps: Count
    samples: Count
    peak_host_bytes: Count | None = None
    peak_device_bytes: Count | None = None
    gpus: tuple[GpuActivity, ...] = ()
    """one a process, by rank; empty on a CPU"""
    kernels: tuple[Line, ...] | None = None
    """the versions of operations that were compiled on this machine and ran; None: not known"""
    started: Utc | None = None
    """since version 4, as are the next two"""
    ended: Utc | None = None
    foreign_load: float | None = Field(default=None, ge=0)
    """CPUs that other processes kept busy meanwhile, as a share of those that the run may use; of several machines, the
    largest share"""
    suspended_seconds: Seconds | None = None
    """in which its process was suspended, of several processes the most; None in records of before it was kept"""
    host: Host | None = None
    """None: the host of the run's environment"""
    notes: JsonObject = {}
    """what the techniques have to say"""

    @model_validator(mode="after")
    def _outcome_is_what_was_measured(self) -> Self:
        measured = [self.accuracy, *(result.accuracy for result in self.epochs)]
        if (self.outcome == "finished") != (self.target is None) and self.outcome not in ("diverged", "failed"):
            raise ValueError(f"outcome={self.outcome} contradicts the target {self.target}")
        if self.outcome == "reached" and not any(a is not None and a >= self.target for a in measured):
            raise ValueError(f"outcome=reached, but no accuracy is at or over the target {self.target}")
        if self.outcome == "missed" and (self.accuracy is None or self.accuracy >= self.target):
            raise ValueError(f"outcome=missed, but accuracy={self.accuracy} is not under the target {self.target}")
        if self.outcome in ("diverged", "failed") and not self.reason:
            raise ValueError(f"outcome={self.outcome} needs a reason")
        return self

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not all(before.epoch < after.epoch for before, after in pairwise(self.epochs)):
            raise ValueError(f"epochs={[result.epoch for result in self.epochs]} do not increase")
        return self

    @model_validator(mode="after")
    def _no_lap_is_longer_than_total(self) -> Self:
        if not math.isfinite(sum([lap.seconds for lap in self.laps])):
            raise ValueError("laps: their seconds add up to more than a number holds")
        totals = [lap for lap in self.laps if lap.name == "total"]
        if len(totals) > 1:
            raise ValueError(f"laps: a trial has one total at most, not {len(totals)}")
        for lap in self.laps:
            if totals and lap.seconds > totals[0].seconds + CLOCK_TOLERANCE:
                raise ValueError(f"laps: {lap.name} took {lap.seconds} s, total {totals[0].seconds} s")
        return self

    @property
    def ending(self) -> str:
        """Its outcome, with the reason if there is one."""
        return self.outcome if self.reason is None else f"{self.outcome}: {self.reason}"

    @property
    def came_to_its_end(self) -> bool:
        """Whether all of its steps were trained."""
        return self.outcome in ("reached", "missed", "finished")

    def seconds(self, *names: LapName) -> float:
        """The sum, in seconds, of all laps of these names."""
        return sum(lap.seconds for lap in self.laps if lap.name in names)


Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class DataHashes(_Kept):
    """What was trained and evaluated on, by content: SHA-256 of the bytes in their order, parts that the recipe leaves
    out excluded. Runs on other data cannot be compared, whatever the data set is called."""

    train_images: Sha256
    train_labels: Sha256
    test_images: Sha256
    test_labels: Sha256
    is_published: bool
    """whether the data set that these were taken from is the published one, image by image"""

    @property
    def digest(self) -> str:
        """A few hex digits of all four hashes."""
        parts = (self.train_images, self.train_labels, self.test_images, self.test_labels)
        return hashlib.sha256("".join(parts).encode()).hexdigest()[:12]


class Plan(_Kept):
    """When the training of two interleaved runs may stop, and what must be decided then."""

    looks: tuple[Positive, ...] = Field(min_length=2)
    """trials of each run at each look; the last number is the most that are trained"""
    limits: dict[Text, float] = {}
    """by metric, the smallest change that counts; the metrics that must be decided, or none: those that are usual"""

    @field_validator("looks")
    @classmethod
    def _increasing(cls, looks: tuple[int, ...]) -> tuple[int, ...]:
        if not all(before < after for before, after in pairwise(looks)):
            raise ValueError(f"looks={list(looks)} do not increase")
        return looks

    @property
    def most(self) -> int:
        """Trials of each run at the last look."""
        return self.looks[-1]


class RunRecord(_Kept):
    """What `run.json` holds: recipe, data, environment, command and seeds of a run, without its trials."""

    schema_version: Literal[4] = SCHEMA_VERSION
    id: str = Field(default_factory=lambda: secrets.token_hex(4), pattern=r"^[A-Za-z0-9]{4,40}$")
    recipe_name: Line = Field(min_length=1)
    recipe: JsonObject
    """the whole resolved recipe"""
    recipe_hash: Line = Field(min_length=1)
    status: Status = "running"
    reason: Text | None = None
    """why it was interrupted or failed"""
    data: DataHashes | None = None
    """None in records of before it was kept"""
    smoke_test: bool
    """true: a shortened recipe or made-up data, to see that it works; its times and accuracies mean nothing"""
    created: Utc = Field(default_factory=lambda: datetime.now(UTC))
    command: list[Text]
    commit: Line | None = None
    dirty: bool | None = None
    environment: Environment
    world_size: Positive
    seeds: list[Seed] = Field(min_length=1)
    writer: Writer | None = None
    """the process that writes it; since version 4"""
    interleaved: Line | None = None
    """shared by the runs whose trials were interleaved; since version 2"""
    plan: Plan | None = None
    """shared by the two runs that are trained until their comparison is decided; since version 4"""

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, seeds: list[int]) -> list[int]:
        repeated = sorted(seed for seed, times in Counter(seeds).items() if times > 1)
        if repeated:
            raise ValueError(f"seeds {repeated} come more than once: trials of one seed are one trial")
        return seeds

    @field_validator("recipe")
    @classmethod
    def _can_be_computed_with(cls, recipe: dict[str, Any]) -> dict[str, Any]:
        options_of(recipe)
        return recipe

    @property
    def options(self) -> Options:
        """Those of its recipe that readers compute with."""
        return options_of(self.recipe)

    @property
    def has_no_target(self) -> bool:
        """Whether the recipe asks for no accuracy, so that throughput is what counts."""
        return "target" in self.recipe and self.recipe["target"] is None

    def check(self, trial: TrialRecord) -> None:
        """ValueError for a trial that cannot be of this run."""
        if trial.seed not in self.seeds:
            raise ValueError(f"seed={trial.seed} is not among the seeds of run {self.id}")
        if trial.target is None and not self.has_no_target:
            raise ValueError(f"seed={trial.seed}: target is missing, and the recipe does not say that there is none")
        # A lap is the maximum over the ranks, so that with several of them the sum may rightly exceed the total.
        total = trial.seconds("total") if self.world_size == 1 else 0
        if total and (parts := sum(lap.seconds for lap in trial.laps if lap.name != "total")) > total + CLOCK_TOLERANCE:
            raise ValueError(f"seed={trial.seed}: its laps add up to {parts} s, more than its total of {total} s")


@dataclass(frozen=True)
class Run:
    """A run as it was read: its record, the trials that ended in their order, and what could not be read."""

    record: RunRecord
    trials: Sequence[TrialRecord]
    path: Path
    warnings: tuple[str, ...] = ()
    discarded: tuple[TrialRecord, ...] = ()
    """trials that the reader left out"""
    pooled: tuple[Path, ...] = ()
    """directories of the runs that it was made from (`results.pools`); empty for a run as it was read"""

    @property
    def missing_seeds(self) -> list[int]:
        """The seeds that were asked for and have no trial yet; of pooled runs, as often as they lack it."""
        done = Counter(trial.seed for trial in (*self.trials, *self.discarded))
        return list((Counter(self.record.seeds) - done).elements())

    @property
    def plan(self) -> tuple[tuple[int, ...], int] | None:
        """The looks of a run that is trained until decided, and the trials that there are."""
        return (self.record.plan.looks, len(self.trials) + len(self.discarded)) if self.record.plan else None

    def host_of(self, trial: TrialRecord) -> Host | None:
        """Where one of its trials was trained: as the trial says, else the host of the run. None if not known."""
        environment = self.record.environment
        if trial.host or environment.host is None:
            return trial.host
        return Host(hash=environment.host, gpus=environment.gpu_uuids)

    @property
    def reached(self) -> list[TrialRecord]:
        """The trials that reached their target: the only ones that have a time to target."""
        return [trial for trial in self.trials if trial.outcome == "reached"]

    @cached_property
    def options(self) -> Options:
        """Those of its recipe that readers compute with."""
        return self.record.options

    @property
    def epochs(self) -> float | None:
        """That its recipe trains; None where it does not say."""
        return self.options.epochs

    @property
    def title(self) -> str | None:
        """Of its recipe, in a line."""
        return self.options.title or None

    @property
    def change(self) -> str | None:
        """What its recipe changes compared with its base, in a few words; None without such a text."""
        return self.options.change or None

    @property
    def table(self) -> str | None:
        """The table that its recipe belongs to."""
        return self.options.table or None

    @property
    def accuracies(self) -> list[float]:
        """The final accuracy, as a fraction, of every trial that has one, whatever its outcome."""
        return [trial.accuracy for trial in self.trials if trial.accuracy is not None]

    @property
    def target(self) -> float | None:
        """The accuracy to reach, as a fraction; None before the first trial has ended, and where there is none."""
        return next((trial.target for trial in (*self.trials, *self.discarded)), None)

    @property
    def has_no_target(self) -> bool:
        """Whether the recipe asks for no accuracy, so that throughput is what counts."""
        return self.record.has_no_target

    @property
    def is_out_of_memory(self) -> bool:
        """Whether it ended because a process had not enough memory."""
        return self.record.status == "failed" and OUT_OF_MEMORY in (self.record.reason or "")

    @property
    def machine(self) -> str:
        """The kind of machine in a few words, such as "8 × NVIDIA H200"."""
        name = self.record.environment.machine or "unknown"
        return name if self.record.world_size == 1 else f"{self.record.world_size} × {name}"
