"""What is shown while trials run: a live bar on a terminal, lines elsewhere, events where another process listens.

The views hook into the events of the training loop, as techniques do. Only the bar hooks into its steps.
"""

import os
import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column

from bench.command_line import cli
from bench.training import events
from bench.training.events import Event
from bench.training.pace import Pace
from pipelines.events import State
from pipelines.scripts.function import EpochProgress
from pipelines.trial import Trial
from results.format import duration

LINE_INTERVAL = 10.0
"""seconds between two epoch lines, so that a log stays short"""
REFRESH_INTERVAL = 0.5
NARROW = 90
"""columns of a console up to which the bar is short"""
TO_GO = len("~1.5 min to go")
SLOW_STEP = 0.5
"""seconds a step, from which a hint is given"""


class TrialLines:
    """A line for each trial. `--quiet` shows no more."""

    def __init__(self, console: Console, *, interleaved: bool = False) -> None:
        self.console = console
        self._interleaved = interleaved
        self._hinted = False

    def start_run(self, name: str, trials: int) -> None:
        """A run of `trials` trials begins, with its warm-up."""
        self.name, self._trials, self._done = name, trials, 0
        self._started = time.monotonic()
        self._pace = Pace(trials, interleaved=self._interleaved)

    def trial_start(self, state: State | EpochProgress) -> None:
        """Begin to show a trial (an event of the loop)."""
        before = sum(lap.seconds for lap in state.laps if lap.epoch is None)
        self._pace.start_trial(time.monotonic() - before)

    def epoch_end(self, state: State | EpochProgress) -> None:
        """Note slow steps, once per command (an event of the loop)."""
        if not self._hinted and isinstance(state, State) and (hint := slow_step_hint(state)):
            self._hinted = True
            self.line(hint)

    def trial_finished(self, trial: Trial) -> None:
        """A trial is over and recorded."""
        self._done += 1
        now = time.monotonic()
        self._pace.end_trial(now)
        times = (now - self._started, self._pace.seconds_to_go(now))
        counts = (self._done, self._trials)
        self.show(events.TrialFinished(self.name, *counts, trial.seed, trial.outcome, trial.accuracy, *times))

    def line(self, text: str) -> None:
        """Show a line about this run."""
        self.show(events.Message(self.name, text))

    def show(self, event: Event) -> None:
        """Print an event."""
        cli.print_line(self.console, str(event))

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
            to_go = self._pace.seconds_to_go(self._last, share_done(state))
            self.line(f"{describe(state)}, {self._last - self._started:.0f} s so far{events.to_go_text(to_go)}")


class Bars:
    """The bars of the runs in progress, one below the other, on one console. They give way before the times do."""

    def __init__(self, console: Console) -> None:
        self._shown = 0
        text = Column(ratio=1, overflow="fold")
        self.progress = Progress(
            TextColumn("{task.description}: {task.fields[status]}", markup=False, table_column=text),
            BarColumn(bar_width=20 if console.width > NARROW else 10),
            TimeElapsedColumn(),
            TextColumn("{task.fields[to_go]}", markup=False, table_column=Column(no_wrap=True, min_width=TO_GO)),
            console=console,
            auto_refresh=False,
            transient=True,
            expand=True,
        )

    def add(self, name: str) -> TaskID:
        """A bar for a run."""
        if not self._shown:
            self.progress.start()
        self._shown += 1
        return self.progress.add_task(name, total=None, status="warming up", to_go="")

    def remove(self, task: TaskID) -> None:
        """Take a bar down. With the last one, the console is as it was before."""
        self.progress.update(task, visible=False)
        self._shown -= 1
        if not self._shown:
            self.progress.stop()


class LiveBar(TrialLines):
    """A bar that moves with the steps. The training loop draws it, because a thread would compete with the training."""

    def __init__(self, console: Console, bars: Bars | None = None, *, interleaved: bool = False) -> None:
        super().__init__(console, interleaved=interleaved)
        self._bars = bars or Bars(console)
        self._task: TaskID | None = None

    def start_run(self, name: str, trials: int) -> None:
        super().start_run(name, trials)
        self._task = self._bars.add(name)
        self._next = 0.0

    def trial_start(self, state: State | EpochProgress) -> None:
        """A recipe calls this within its lap `build`: there its first step draws the bar."""
        super().trial_start(state)
        self._update(state, draw=isinstance(state, EpochProgress), **self._where(state))

    def step_end(self, state: State) -> None:
        """Redraw now and then (an event of the loop)."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + REFRESH_INTERVAL
            self._update(state)

    def epoch_end(self, state: State | EpochProgress) -> None:
        super().epoch_end(state)
        self._update(state, **self._where(state))

    def end_run(self) -> None:
        if self._task is not None:
            self._bars.remove(self._task)
            self._task = None

    def _where(self, state: State | EpochProgress) -> dict[str, Any]:
        status = f"trial {self._done + 1}/{self._trials}, {describe(state)}"
        return {"total": state.steps * self._trials or None, "status": status}

    def _update(self, state: State | EpochProgress, *, draw: bool = True, **fields: Any) -> None:
        assert self._task is not None
        seconds = self._pace.seconds_to_go(time.monotonic(), share_done(state))
        to_go = "" if seconds is None else f"~{duration(round(seconds))} to go"
        completed = self._done * state.steps + state.step
        self._bars.progress.update(self._task, completed=completed, to_go=to_go, refresh=draw, **fields)


def make_views(
    count: int, *, is_main: bool, quiet: bool = False, as_json: bool = False, interleaved: bool = False
) -> list[TrialLines]:
    """A view for each run in progress: on a terminal, in a log, for the process that launched this one, or none."""
    if not is_main:
        return [TrialLines(Console(quiet=True)) for _ in range(count)]
    if events.are_wanted(os.environ):
        console = cli.make_console(to_stderr=True)
        return [EventSender(console, interleaved=interleaved or events.INTERLEAVED in os.environ) for _ in range(count)]
    console = cli.make_console(to_stderr=as_json)
    is_redrawn = console.file.isatty() and console.is_interactive  # rich takes a log for a terminal under FORCE_COLOR
    if is_redrawn and not quiet:
        shared = Bars(console)
        return [LiveBar(console, shared, interleaved=interleaved) for _ in range(count)]
    kind = TrialLines if quiet or interleaved else EpochLines
    return [kind(console, interleaved=interleaved) for _ in range(count)]


def share_done(state: State | EpochProgress) -> float:
    """The share of the trial in progress that is over; 0 where nobody knows how long it is."""
    return state.step / state.steps if state.steps else 0.0


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
