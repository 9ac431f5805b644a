"""What a training made of its hardware: operations a second against the most that it can do, watts, joules.

Model FLOPs utilisation: the operations that the network's definition needs, whatever was computed in fact, over what
the device could have done in that time (Chowdhery et al. 2022, "PaLM", B). An unknown device has none.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field

from results.protocols import crossing_seconds, find_protocol
from results.record import Run
from results.tables import NOTHING, Table

PEAKS = Path(__file__).with_name("peaks.yaml")

Positive = Annotated[float, Field(gt=0)]


class Peak(BaseModel):
    """What a GPU can do at most, by its maker."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    """contained in NVML's name of it"""
    half: Positive
    """operations a second in float16 and bfloat16, dense"""
    single: Positive
    """in float32, or TF32 where it has that"""
    bytes: Positive
    """from its memory, a second"""
    source: str


@cache
def peaks() -> list[Peak]:
    """Of the GPUs that are known."""
    return [Peak.model_validate(entry) for entry in yaml.safe_load(PEAKS.read_text(encoding="utf-8"))]


def peak_of(machine_class: object) -> Peak | None:
    """Of this class of machine; None for one that is not known."""
    return next((peak for peak in peaks() if isinstance(machine_class, str) and peak.name in machine_class), None)


@dataclass(frozen=True)
class Efficiency:
    """Of a run; None what is not known."""

    flops: float | None
    """operations a second while training, over all processes; median over the trials"""
    mfu: float | None
    watts: float | None
    joules: float | None
    """of one trial, all that it does included"""
    joules_to_target: float | None
    """the mean power over the median time to the target"""


def efficiency(run: Run, protocol: str) -> Efficiency:
    """ValueError for an unknown protocol, and for more operations than the device can do: then the clock is wrong, or
    the record, or the table of peaks."""
    find_protocol(protocol)
    environment = run.record.environment
    noted, energy = environment.get("train_flops"), environment.get("energy")
    trained = [trial.seconds("train") for trial in run.trials if trial.outcome in ("reached", "missed")]
    flops = noted / median(trained) if isinstance(noted, int | float) and any(trained) else None
    peak, mfu = peak_of(environment.get("machine_class")), None
    if flops is not None and peak is not None:
        most = peak.single if run.record.recipe.get("precision") == "float32" else peak.half
        mfu = flops / (most * run.record.world_size)
        if mfu > 1:
            raise ValueError(
                f"run {run.record.id}: {flops:.3g} operations a second are {mfu:.2f} times what {run.machine} can do "
                f"({peak.source}): the time or the count is wrong"
            )
    counted = energy if isinstance(energy, dict) and "unknown" not in energy else {}
    watts, joules = counted.get("mean_w"), counted.get("joules_per_trial")
    crossings = [seconds for trial in run.trials if (seconds := crossing_seconds(trial, protocol)) is not None]
    return Efficiency(flops, mfu, watts, joules, watts * median(crossings) if watts and crossings else None)


def efficiency_table(runs: Iterable[Run], protocol: str) -> Table:
    """One row a run. ValueError as `efficiency`."""
    headers = ("recipe", "TFLOP/s", "of the peak", "mean W", "J a trial", "J to target", "machine")
    found = [(run, efficiency(run, protocol)) for run in runs]
    rows = tuple(
        (
            run.record.recipe_name,
            number(one.flops, 1e-12),
            "unknown" if one.mfu is None else f"{100 * one.mfu:.1f}%",
            *(number(value) for value in (one.watts, one.joules, one.joules_to_target)),
            run.machine,
        )
        for run, one in found
    )
    caption = (
        "TFLOP/s: the network's own operations, a backward pass taken as two forward passes, over the training's laps. "
        "Of the peak: by the maker's figure for dense operations in this precision (results/peaks.yaml). Watts and "
        "joules: counted while trials were repeated for a minute (--energy), of all GPUs or of the processors. J to "
        f"target: mean power times the median {protocol} time to the first epoch at or over it."
    )
    return Table("what the hardware did", headers, rows, caption)


def is_known(runs: Sequence[Run]) -> bool:
    """Whether there is something to show: a known device, or counted energy, in a real run."""
    real = [run.record.environment for run in runs if not run.record.sample and run.trials]
    return any("energy" in one or peak_of(one.get("machine_class")) for one in real)


def number(value: float | None, unit: float = 1.0) -> str:
    """To three digits."""
    return NOTHING if value is None else f"{float(f'{value * unit:.3g}'):,}"
