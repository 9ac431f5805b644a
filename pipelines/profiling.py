"""Where the time of a training goes: short trials of their own, none of which is ever a timed one.

One trial for the phases, which synchronises at the edges of each of them; and one for the trace, which does not, so
that what overlaps in it overlaps in a real trial too.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from pipelines.clock import Clock
from pipelines.devices import make_clock
from pipelines.optimizers import Stepper, WrappedStepper
from pipelines.techniques import State
from pipelines.train import Workbench, run_trial

STEPS = 30
"""of the training, before its final evaluation"""
EXCHANGE = ("nccl:", "gloo:")
"""What the operations begin with that exchange something between processes."""


@dataclass(frozen=True)
class Profile:
    """Of `steps` steps and a final evaluation."""

    steps: int
    phases: dict[str, float]
    """seconds in augment, forward, backward, optimizer, other (techniques, the loop itself, waiting for batches) and
    evaluate; they add up"""
    communication: float
    """seconds in which this process exchanged something, much of it while gradients were still computed"""
    device_busy: float | None
    """share of the trace in which the device computed; None where the device is the CPU"""
    trace: profile
    """torch's profiler, for its trace and its tables"""


class Labelled(WrappedStepper):
    """Times and names the optimizer's steps."""

    def __init__(self, inner: Stepper, clock: Clock) -> None:
        super().__init__(inner)
        self._clock = clock

    def step(self, step: int) -> None:
        with self._clock.lap("optimizer"), record_function("optimizer"):
            self.inner.step(step)


class Shortened:
    """An observer that ends the trial after a few steps and watches the optimizer."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def trial_start(self, state: State) -> None:
        state.steps = min(state.steps, STEPS)
        state.stepper = Labelled(state.stepper, self._clock)


def profile_training(bench: Workbench, seed: int) -> Profile:
    """Train twice for a few steps. Every process has to call it."""
    device = bench.world.device
    clock = make_clock(device)
    trial = run_trial(labelled(bench, clock), seed, [Shortened(clock)])
    laps = {name: sum(lap.seconds for lap in trial.laps if lap.name == name) for name in ("augment", "train")}
    forward, passes, optimizer = (clock.seconds(name) for name in ("forward", "forward and backward", "optimizer"))
    phases = {
        "augment": laps["augment"],
        "forward": forward,
        "backward": passes - forward,
        "optimizer": optimizer,
        "other": max(laps["train"] - passes - optimizer, 0.0),
        "evaluate": sum(lap.seconds for lap in trial.laps if lap.name == "final_evaluate"),
    }
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
    untimed = Clock(now=lambda: 0.0)
    with profile(activities=activities) as trace:
        run_trial(labelled(bench, untimed), seed, [Shortened(untimed)])
    events = trace.key_averages()
    exchanged = sum(event.cpu_time_total for event in events if event.key.startswith(EXCHANGE)) / 1e6
    return Profile(trial.steps, phases, exchanged, busy_share(trace) if device.type == "cuda" else None, trace)


def labelled(bench: Workbench, clock: Clock) -> Workbench:
    """The workbench whose passes are timed by the clock and named in a trace."""

    def forward(images: torch.Tensor, **arguments: Any) -> torch.Tensor:
        if not bench.network.training:
            return bench.forward(images, **arguments)
        with clock.lap("forward"), record_function("forward"):
            return bench.forward(images, **arguments)

    def backward(state: State) -> torch.Tensor:
        with clock.lap("forward and backward"), record_function("forward and backward"):
            return bench.backward(state)

    return replace(bench, forward=forward, backward=backward)


def busy_share(trace: profile) -> float:
    """Share of the time between the first kernel and the end of the last in which some kernel ran."""
    spans = [
        (event.time_range.start, event.time_range.end)
        for event in trace.events()
        if event.device_type == torch.autograd.DeviceType.CUDA
    ]
    return union_share(spans)


def union_share(spans: list[tuple[float, float]]) -> float:
    """Share of the time from the first start to the last end that some span covers; 0 without spans."""
    covered, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        covered += max(end - max(start, reached), 0.0)
        reached = max(reached, end)
    whole = reached - min((start for start, _ in spans), default=reached)
    return covered / whole if whole > 0 else 0.0
