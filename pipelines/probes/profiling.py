"""Where the time of a training goes: short trials of their own, none of which is ever a timed one.

One trial for the phases, which synchronises at the edges of each of them; and one for the trace, which does not, so
that what overlaps in it overlaps in a real trial too.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile, record_function

from pipelines.clock import Clock
from pipelines.events import State
from pipelines.host.devices import make_clock
from pipelines.optim.steppers import ScheduledOptimizer, WrappedOptimizer
from pipelines.strategies import MakeOptimizer, Shared
from pipelines.train import TrainingSetup, run_trial

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


class Labelled(WrappedOptimizer):
    """Times and names the optimizer's steps."""

    def __init__(self, inner: ScheduledOptimizer, clock: Clock) -> None:
        super().__init__(inner)
        self._clock = clock

    def step(self, step: int) -> None:
        with self._clock.lap("optimizer"), record_function("optimizer"):
            self.inner.step(step)


@dataclass(frozen=True, kw_only=True)
class LabelledBench(TrainingSetup):
    """A workbench whose passes are timed by the clock and named in a trace, whoever shares the network."""

    clock: Clock

    def share(self, network: nn.Module, make_stepper: MakeOptimizer) -> Shared:
        shared = super().share(network, make_stepper)

        def forward(images: Tensor, **arguments: Any) -> Tensor:
            if not network.training:
                return shared.forward(images, **arguments)
            with self.clock.lap("forward"), record_function("forward"):
                return shared.forward(images, **arguments)

        def backward(state: State) -> Tensor:
            with self.clock.lap("forward and backward"), record_function("forward and backward"):
                return shared.backward(state)

        return replace(shared, forward=forward, backward=backward)


class Shortened:
    """An observer that ends the trial after a few steps and watches the optimizer."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def trial_start(self, state: State) -> None:
        state.steps = min(state.steps, STEPS)
        state.stepper = Labelled(state.stepper, self._clock)


def profile_training(bench: TrainingSetup, seed: int) -> Profile:
    """Train twice for a few steps. Every process has to call it."""
    device = bench.world.device
    clock = make_clock(device)
    trial = run_trial(LabelledBench(**vars(bench), clock=clock), seed, [Shortened(clock)])
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
        run_trial(LabelledBench(**vars(bench), clock=untimed), seed, [Shortened(untimed)])
    exchanges = [span(event) for event in trace.events() if event.name.startswith(EXCHANGE)]
    exchanged = covered(exchanges) / 1e6
    return Profile(trial.steps, phases, exchanged, busy_share(trace) if device.type == "cuda" else None, trace)


def busy_share(trace: profile) -> float:
    """Share of the time between the first kernel and the end of the last in which some kernel ran."""
    on_device = (event for event in trace.events() if event.device_type == torch.autograd.DeviceType.CUDA)
    # what `record_function` names has a stretch of the device's time line too, with whatever gaps are in it
    kernels = [span(event) for event in on_device if not event.is_user_annotation]
    whole = max((end for _, end in kernels), default=0.0) - min((start for start, _ in kernels), default=0.0)
    return covered(kernels) / whole if whole > 0 else 0.0


def span(event: FunctionEvent) -> tuple[float, float]:
    """Start and end of what a trace has, in microseconds."""
    return event.time_range.start, event.time_range.end


def covered(spans: Iterable[tuple[float, float]]) -> float:
    """How long at least one of the spans lasted: what overlaps counts once."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(end - max(start, reached), 0.0)
        reached = max(reached, end)
    return total
