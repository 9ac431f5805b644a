"""What a loader costs: its speed alone, how long the training waits for it, and the CPU time of both."""

from collections import deque
from typing import Any

import torch

from pipelines.events import State
from pipelines.host.devices import make_clock, make_timer
from pipelines.host.load import cpu_seconds
from pipelines.recipe import techniques


def drained(state: State) -> tuple[int, float]:
    """Go through another epoch without training: its images in this process, and the seconds they took."""
    clock = make_clock(state.world.device)
    with clock.lap("drain"):
        batches = state.loader.epoch(state.epoch + 1)
        deque(batches, maxlen=0)
    return sum(len(batch) for batch in batches.indices), clock.seconds("drain")


class LoaderCosts:
    """Notes, over all processes: images and seconds of an epoch alone; seconds from a step to the next batch, on the
    slowest process, where what other techniques do to a batch counts as waiting for it; CPU seconds of the training
    and its evaluations.

    On CUDA the waiting is the device's, between events: from the end of a step's kernels until the next batch is in
    its memory. The host may be late without the device waiting, as long as kernels are queued.
    """

    def __init__(self, config: techniques.LoaderCosts) -> None:
        self._waited = 0.0
        self._waits: list[tuple[Any, Any]] = []

    def trial_start(self, state: State) -> None:
        self._cpu_before = cpu_seconds()
        self._timer = make_timer(state.world.device)

    def epoch_start(self, state: State) -> None:
        self._asked = self._timer.mark()

    def batch_ready(self, state: State) -> None:
        self._waits.append((self._asked, self._timer.mark()))

    def step_end(self, state: State) -> None:
        self._asked = self._timer.mark()

    def epoch_end(self, state: State) -> None:
        self._waited += sum(self._timer.seconds(*wait) for wait in self._waits)  # the train lap has synchronised
        self._waits.clear()
        if state.step < state.steps:
            return
        cpu = cpu_seconds() - self._cpu_before
        images, seconds = drained(state)
        images_of_all = state.world.data.sum(torch.tensor(images, dtype=torch.float64))
        cpu_of_all = state.world.sum(torch.tensor(cpu, dtype=torch.float64))
        maxima = state.world.maximum(torch.tensor([seconds, self._waited], dtype=torch.float64)).tolist()
        state.notes["loader_costs"] = {
            "images": int(images_of_all),
            "seconds": maxima[0],
            "waited_seconds": maxima[1],
            "cpu_seconds": float(cpu_of_all),
        }
