"""What a person sees while trials run: a live bar on a terminal, lines anywhere else.

The views hook into the loop's events like techniques do; a line view does not hook into the steps at all.
"""

import sys
import time
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from bench.run_arguments import DEFAULT_RECIPE
from pipelines.events import State
from pipelines.trial import Trial
from results.error_split import error_lines
from results.folds import fold_lines
from results.record import Run

NEXT_STEPS = """\
next: accelerate launch bench/run.py mnist/base              a ConvNet on 6,000 MNIST images
      accelerate launch bench/run.py cifar10/davidnet-10     CIFAR-10 to 94% in ten epochs (best on a GPU)
      accelerate launch bench/run.py --list                  every recipe"""

LINE_INTERVAL = 10.0
"""seconds between two epoch lines, so that a log stays short"""
REFRESH_INTERVAL = 0.5
SLOW_STEP = 0.5
"""seconds a step, from which a hint is given"""


class TrialLines:
    """One line as each trial ends; what `--quiet` shows."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._hinted = False

    def start_run(self, name: str, trials: int) -> None:
        """A run of so many trials begins, with its warm-up."""
        self.name, self._trials, self._done = name, trials, 0
        self._started = time.monotonic()
        self._first_trial: float | None = None

    def trial_start(self, state: State) -> None:
        """Begin to show a trial (an event of the loop)."""
        if self._first_trial is None:
            self._first_trial = time.monotonic()

    def epoch_end(self, state: State) -> None:
        """Hint at slow steps, once a command (an event of the loop)."""
        if not self._hinted and (hint := slow_step_hint(state)):
            self._hinted = True
            self.console.print(hint, highlight=False)

    def trial_finished(self, trial: Trial) -> None:
        """A trial is over and kept."""
        self._done += 1
        accuracy = "" if trial.accuracy is None else f", {trial.accuracy:.2%}"
        seconds = time.monotonic() - self._started
        number = f"trial {self._done}/{self._trials}"
        self.line(f"{number}, seed {trial.seed}: {trial.outcome}{accuracy}, {seconds:.1f} s so far")

    def line(self, text: str) -> None:
        """Say something of this run."""
        self.console.print(f"{self.name}: {text}", highlight=False, markup=False, soft_wrap=True)

    def end_run(self) -> None:
        """The run is over, or broken off."""


class EpochLines(TrialLines):
    """Also a line an epoch, if some time has gone by since the last."""

    _last = 0.0

    def epoch_end(self, state: State) -> None:
        super().epoch_end(state)
        if time.monotonic() - self._last >= LINE_INTERVAL:
            self._last = time.monotonic()
            assert self._first_trial is not None
            training = self._last - self._first_trial  # without the warm-up, which comes once
            share = (self._done + state.step / state.steps) / self._trials
            to_go = training / share - training
            self.line(f"{describe(state)}, {self._last - self._started:.0f} s so far, about {to_go:.0f} s to go")


class LiveBar(TrialLines):
    """A bar that moves with the steps. It is drawn from the loop, not from a thread that would compete with it."""

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

    def trial_start(self, state: State) -> None:
        super().trial_start(state)
        self._progress.update(self._task, total=state.steps * self._trials, status=describe(state), refresh=True)

    def step_end(self, state: State) -> None:
        """Redraw now and then (an event of the loop)."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + REFRESH_INTERVAL
            self._progress.update(self._task, completed=self._done * state.steps + state.step, refresh=True)

    def epoch_end(self, state: State) -> None:
        super().epoch_end(state)
        completed = self._done * state.steps + state.step
        self._progress.update(self._task, completed=completed, status=describe(state), refresh=True)

    def end_run(self) -> None:
        self._progress.stop()


def make_view(console: Console, *, quiet: bool) -> TrialLines:
    """The view for this terminal, or for a log."""
    if quiet:
        return TrialLines(console)
    return LiveBar(console) if console.is_terminal else EpochLines(console)


def print_next_steps(console: Console, runs: Sequence[Run]) -> None:
    """What the runs say together, where the records lie, and what to try next."""
    for line in (*fold_lines(runs), *error_lines(runs)):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    for run in runs:
        console.print(f"record: {run.path}", highlight=False, markup=False, soft_wrap=True)
        for warning in run.warnings:
            console.print(f"warning: {warning}", highlight=False, markup=False, soft_wrap=True)
    if any(run.record.recipe_name == DEFAULT_RECIPE for run in runs):
        console.print(NEXT_STEPS, highlight=False, markup=False, soft_wrap=True)


def make_console(*, is_main: bool) -> Console:
    """The terminal, for the main process; silence for the others."""
    if is_main:
        return Console(width=None if sys.stdout.isatty() else 160)
    return Console(quiet=True)


def describe(state: State) -> str:
    """Where a trial stands."""
    if not state.history:
        return f"seed {state.seed}"
    last = state.history[-1]
    accuracies = [result.accuracy for result in state.history if result.accuracy is not None]
    accuracy = f", accuracy {accuracies[-1]:.2%}" if accuracies else ""
    return f"seed {state.seed}, epoch {last.epoch}/{state.recipe.epochs:g}, loss {last.train_loss:.3f}{accuracy}"


def slow_step_hint(state: State) -> str | None:
    """A sentence on where the time goes, when the steps of the epoch that ended were slow."""
    seconds = {lap.name: lap.seconds for lap in state.laps if lap.epoch == state.epoch + 1}
    together = seconds["train"] + seconds["augment"]
    steps = state.step - state.epoch * state.steps_per_epoch
    if together / steps < SLOW_STEP:
        return None
    data = seconds["augment"] / together
    return f"note: a step takes {together / steps:.1f} s, {1 - data:.0%} in the loop and {data:.0%} on data before it"
