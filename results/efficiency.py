"""How much of its hardware a training used: operations a second against the device's peak, watts, joules.

Model FLOPs utilisation (MFU): the operations that the network's definition needs over those that the device could have
done in that time (Chowdhery et al. 2022, "PaLM", B). An unknown device has none.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field

from results.environment import known
from results.record import Run
from results.summary import summarize

PEAKS = Path(__file__).with_name("peaks.yaml")

Positive = Annotated[float, Field(gt=0)]


class Peak(BaseModel):
    """What a GPU can do at most, by its maker."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    """as words in NVML's name of it"""
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


def peak_of(machine_class: str | None) -> Peak | None:
    """Of this class of machine; None for an unknown one, and for a part of a GPU (MIG)."""
    if machine_class is None or "MIG" in machine_class:
        return None
    return next((peak for peak in peaks() if re.search(_words(peak.name), machine_class)), None)


def _words(name: str) -> str:
    """Matches the name as whole words: the RTX 3090 Ti, the RTX 4090 D and the GPU of a laptop are other GPUs."""
    return rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])(?! (?:Ti|D|Laptop)\b)"


@dataclass(frozen=True)
class Efficiency:
    """Of a run; None for what is not known."""

    flops: float | None
    """operations a second while training, over all processes; median over the trials"""
    mfu: float | None
    watts: float | None
    joules: float | None
    """of one trial, everything in it included"""
    joules_to_target: float | None
    """the mean power over the median time to the target"""


def efficiency(run: Run, protocol: str) -> Efficiency:
    """ValueError for an unknown protocol, and for more operations than the device can do: then the clock is wrong, or
    the record, or the table of peaks."""
    environment = run.record.environment
    noted, machine = known(environment.train_flops), known(environment.machine_class)
    trained = [trial.seconds("train") for trial in run.trials if trial.came_to_its_end]
    flops = noted / median(trained) if noted is not None and any(trained) else None
    is_part = any(gpu.mig is True for gpu in environment.gpus or ())
    peak, mfu = None if is_part else peak_of(machine), None
    if flops is not None and peak is not None:
        most = peak.single if run.options.precision == "float32" else peak.half
        mfu = flops / (most * run.record.world_size)
        if mfu > 1:
            raise ValueError(
                f"run {run.record.id}: {flops:.3g} operations a second are {mfu:.2f} times what {run.machine} can do "
                f"({peak.source}): the time or the count is wrong"
            )
    energy = known(environment.energy)
    watts, joules = (energy.mean_w, energy.joules_per_trial) if energy else (None, None)
    seconds = summarize(run, protocol).time_to_target.value
    return Efficiency(flops, mfu, watts, joules, watts * seconds if watts is not None and seconds else None)


def is_known(runs: Sequence[Run]) -> bool:
    """Whether there is something to show: a known device, or measured energy, in a real run."""
    real = [run.record.environment for run in runs if not run.record.smoke_test and run.trials]
    return any(one.energy is not None or peak_of(known(one.machine_class)) for one in real)
