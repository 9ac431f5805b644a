"""What is shown while trials run: a live bar on a terminal, lines elsewhere, events where another process listens.

The views hook into the events of the training loop, as techniques do. Only the bar hooks into its steps.
"""

import os
import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from bench import cli, events
from bench.events import Event
from pipelines.events import State
from pipelines.scripts.function import EpochProgress
from pipelines.trial import Trial

LINE_INTERVAL = 10.0
"""seconds between two epoch lines, so that a log stays short"""
REFRESH_INTERVAL = 0.5
SLOW_STEP = 0.5
"""seconds a step, from which a hint is given"""


class TrialLines:
    """A line for each trial. `--quiet` shows no more."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._hinted = False

    def start_run(self, name: str, trials: int) -> None:
        """A run of `trials` trials begins, with its warm-up."""
        self.name, self._trials, self._done = name, trials, 0
        self._started = time.monotonic()
        self._first_trial: float | None = None

    def trial_start(self, state: State | EpochProgress) -> None:
        """Begin to show a trial (an event of the loop)."""
        if self._first_trial is None:
            self._first_trial = time.monotonic()

    def epoch_end(self, state: State | EpochProgress) -> None:
        """Note slow steps, once per command (an event of the loop)."""
        if not self._hinted and isinstance(state, State) and (hint := slow_step_hint(state)):
            self._hinted = True
            self.line(hint)

    def trial_finished(self, trial: Trial) -> None:
        """A trial is over and recorded."""
        self._done += 1
        seconds = time.monotonic() - self._started
        counts = (self._done, self._trials)
        self.show(events.TrialFinished(self.name, *counts, trial.seed, trial.outcome, trial.accuracy, seconds))

    def line(self, text: str) -> None:
        """Show a line about this run."""
        self.show(events.Message(self.name, text))

    def show(self, event: Event) -> None:
        """Print an event."""
        self.console.print(str(event), highlight=False, markup=False, soft_wrap=True)

    def end_run(self) -> None:
        """The run is over, or was interrupted."""


class EventSender(TrialLines):
    """Sends what happens to the process that launched this one."""

    def show(self, event: Event) -> None:
        events.send(event)


class EpochLines(TrialLines):
    """Also a line for an epoch, if the last line is some seconds old."""

    _last = 0.0

    def epoch_end(self, state: State | EpochProgress) -> None:
        super().epoch_end(state)
        if time.monotonic() - self._last >= LINE_INTERVAL:
            self._last = time.monotonic()
            assert self._first_trial is not None
            training = self._last - self._first_trial  # without the warm-up, which comes once
            rest = ""
            if state.steps:
                share = (self._done + state.step / state.steps) / self._trials
                rest = f", about {training / share - training:.0f} s to go"
            self.line(f"{describe(state)}, {self._last - self._started:.0f} s so far{rest}")


class LiveBar(TrialLines):
    """A bar that moves with the steps. The training loop draws it, because a thread would compete with the training."""

    def start_run(self, name: str, trials: int) -> None:
        super().start_run(name, trials)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[status]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self.console,
            auto_refresh=False,
            transient=True,
        )
        self._task = self._progress.add_task(name, total=None, status="warming up")
        self._progress.start()
        self._next = 0.0

    def trial_start(self, state: State | EpochProgress) -> None:
        super().trial_start(state)
        total = state.steps * self._trials or None
        self._progress.update(self._task, total=total, status=describe(state), refresh=True)

    def step_end(self, state: State) -> None:
        """Redraw now and then (an event of the loop)."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + REFRESH_INTERVAL
            self._progress.update(self._task, completed=self._done * state.steps + state.step, refresh=True)

    def epoch_end(self, state: State | EpochProgress) -> None:
        super().epoch_end(state)
        completed, total = self._done * state.steps + state.step, state.steps * self._trials or None
        self._progress.update(self._task, completed=completed, total=total, status=describe(state), refresh=True)

    def end_run(self) -> None:
        self._progress.stop()


def make_view(*, is_main: bool, quiet: bool = False, as_json: bool = False) -> TrialLines:
    """The view for this process: on a terminal, in a log, for the process that launched it, or none."""
    if not is_main:
        return TrialLines(Console(quiet=True))
    if events.are_wanted(os.environ):
        return EventSender(cli.make_console(to_stderr=True))
    console = cli.make_console(to_stderr=as_json)
    if quiet:
        return TrialLines(console)
    return LiveBar(console) if console.is_terminal else EpochLines(console)


def describe(state: State | EpochProgress) -> str:
    """Where a trial stands."""
    if not state.history:
        return f"seed {state.seed}"
    last = state.history[-1]
    accuracies = [result.accuracy for result in state.history if result.accuracy is not None]
    accuracy = f", accuracy {accuracies[-1]:.2%}" if accuracies else ""
    loss = "" if last.train_loss is None else f", loss {last.train_loss:.3f}"
    of = f"/{state.epochs:g}" if state.epochs else ""
    return f"seed {state.seed}, epoch {last.epoch}{of}{loss}{accuracy}"


def slow_step_hint(state: State) -> str | None:
    """Where the time goes, if the steps of the epoch that has ended were slow."""
    seconds = {lap.name: lap.seconds for lap in state.laps if lap.epoch == state.epoch + 1}
    total = seconds["train"] + seconds["augment"]
    steps = state.step - state.epoch * state.steps_per_epoch
    if total / steps < SLOW_STEP:
        return None
    data = seconds["augment"] / total
    return f"a step takes {total / steps:.1f} s, {1 - data:.0%} in the loop and {data:.0%} on data before it"
