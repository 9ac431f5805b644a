"""Where the time of a training goes, in two short trials that are not part of the run's results.

The first measures the phases and synchronizes with the device at their edges. The second is traced without
synchronizing, so that work overlaps in it as in a real trial.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile, record_function

from pipelines.clock import Clock
from pipelines.events import State
from pipelines.host.devices import make_clock
from pipelines.optim.scheduled_optimizer import ScheduledOptimizer, WrappedOptimizer
from pipelines.scripts.function import FunctionTrainer
from pipelines.strategies.strategy import MakeOptimizer, Prepared, Strategy
from pipelines.train import TrainingSetup, run_trial

STEPS = 30
"""of the training, before its final evaluation"""
COMMUNICATION = ("nccl:", "gloo:")
"""prefixes of the operations that communicate between processes"""


@dataclass(frozen=True)
class Profile:
    """Of `steps` steps and a final evaluation, or of one epoch of a function of the user's own."""

    steps: int | None
    """None: an epoch of a function"""
    phases: dict[str, float]
    """seconds of each lap of a function, or in augment, forward, backward, optimizer, other (techniques, the loop
    itself, waiting for batches) and evaluate; they add up"""
    communication: float
    """seconds in which this process communicated, in part while gradients were still computed"""
    device_busy: float | None
    """share of the trace in which the device computed; None where the device is the CPU"""
    trace: profile
    """torch's profiler, for its trace and its tables"""


class LabelledOptimizer(WrappedOptimizer):
    """Times and names the optimizer's steps."""

    def __init__(self, inner: ScheduledOptimizer, clock: Clock) -> None:
        super().__init__(inner)
        self._clock = clock

    def step(self, step: int) -> None:
        with self._clock.lap("optimizer"), record_function("optimizer"):
            self.inner.step(step)


class LabelledStrategy:
    """Another strategy, whose passes and steps are timed by a clock and named in a trace."""

    def __init__(self, inner: Strategy, clock: Clock) -> None:
        self._inner, self._clock = inner, clock
        self.name, self.has_whole_weights, self.traffic = inner.name, inner.has_whole_weights, inner.traffic

    @property
    def network(self) -> nn.Module:
        return self._inner.network

    def new_network(self) -> nn.Module:
        return self._inner.new_network()

    def prepare(self, make_optimizer: MakeOptimizer) -> Prepared:
        prepared, clock = self._inner.prepare(make_optimizer), self._clock

        def forward(images: Tensor, **arguments: Any) -> Tensor:
            if not self.network.training:
                return prepared.forward(images, **arguments)
            with clock.lap("forward"), record_function("forward"):
                return prepared.forward(images, **arguments)

        def backward(state: State) -> Tensor:
            with clock.lap("forward and backward"), record_function("forward and backward"):
                return prepared.backward(state)

        optimizer = LabelledOptimizer(prepared.optimizer, clock)
        return replace(prepared, forward=forward, backward=backward, optimizer=optimizer)

    def close(self) -> None:
        self._inner.close()


class Shortened:
    """An observer that ends the trial after a few steps."""

    def trial_start(self, state: State) -> None:
        state.steps = min(state.steps, STEPS)


def profile_training(setup: TrainingSetup, seed: int) -> Profile:
    """Train twice for a few steps. Every process has to call it."""
    device = setup.world.device
    clock = make_clock(device)
    trial = run_trial(labelled(setup, clock), seed, [Shortened()])
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
    untimed = Clock(now=lambda: 0.0)
    return traced(device, trial.steps, phases, lambda: run_trial(labelled(setup, untimed), seed, [Shortened()]))


def profile_function(trainer: FunctionTrainer, seed: int) -> Profile:
    """Call a function of the user's own twice, for one epoch if it asks for its epochs. The phases are its laps.

    Every process has to call it.
    """
    laps = trainer.run_trial(seed, epoch_limit=1).laps
    phases = {
        name: sum(lap.seconds for lap in laps if lap.name == name) for name in dict.fromkeys(lap.name for lap in laps)
    }
    return traced(trainer.world.device, None, phases, lambda: trainer.run_trial(seed, epoch_limit=1))


def traced(device: torch.device, steps: int | None, phases: dict[str, float], train: Callable[[], object]) -> Profile:
    """The profile of a training that is traced now, with phases that were measured before."""
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
    with profile(activities=activities) as trace:
        train()
    communication = [span(event) for event in trace.events() if event.name.startswith(COMMUNICATION)]
    seconds = covered(communication) / 1e6
    return Profile(steps, phases, seconds, busy_share(trace) if device.type == "cuda" else None, trace)


def labelled(setup: TrainingSetup, clock: Clock) -> TrainingSetup:
    """The setup with its strategy labelled."""
    return replace(setup, strategy=LabelledStrategy(setup.strategy, clock))


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
