"""The trials of many recipes, recorded here as they end, whatever executes them."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest

from bench.command_line import cli
from bench.command_line.invocation import as_typed
from bench.training.collect import CollectedRun
from bench.training.events import Event, TrialFinished
from bench.training.tasks import Failure, Trained, TrialTask

Planned = Sequence[tuple[CollectedRun, Sequence[TrialTask]]]
"""runs, each with the trials that it misses"""
Execute = Callable[[Sequence[TrialTask]], Iterator[tuple[TrialTask, Trained | Failure]]]
"""yields each trial as it ends"""


def resume(runs: Sequence[CollectedRun]) -> None:
    """Continue the unfinished runs. Raises as `CollectedRun.resume`; those that were continued then end again."""
    try:
        for run in runs:
            run.resume()
    except BaseException as error:
        _finish(runs, {}, cli.cause_of(error), is_interrupted=True)
        raise


def train(planned: Planned, execute: Execute, show: Callable[[Event], None], prog: str) -> int:
    """Train all trials and write each as it ends. Returns the highest exit status of a trial.

    The trials of the recipes alternate, so that a drift of the machines affects all recipes. `prog`: the command, for
    its messages. Raises ValueError and OSError where nothing can go on. Every way out records how the runs ended.
    """
    started = time.monotonic()
    runs = [run for run, _ in planned]
    rounds = zip_longest(*([(run, task) for task in tasks] for run, tasks in planned))
    pairs = [pair for each in rounds for pair in each if pair]
    owners = {id(task): run for run, task in pairs}
    reasons: dict[int, str] = {}
    status = cli.OK
    try:
        for task, found in execute([task for _, task in pairs]):
            run = owners[id(task)]
            if not isinstance(found, Failure):
                try:
                    trial = run.add(found.run, found.sources)
                except ValueError as error:
                    found = Failure(cli.NO_VERDICT, str(error))
            if isinstance(found, Failure):
                status = max(status, found.status)
                reasons[id(run)] = reason = f"{run.job.name}: seed {task.seed}: {found.reason}"
                print(as_typed(f"{prog}: error: {reason}"), file=sys.stderr, flush=True)
                continue
            trials = len(run.job.seeds)
            number, seconds = trials - len(run.missing_seeds), time.monotonic() - started
            show(TrialFinished(run.job.name, number, trials, trial.seed, trial.outcome, trial.accuracy, seconds))
    except BaseException as error:
        _finish(runs, {}, cli.cause_of(error), is_interrupted=isinstance(error, KeyboardInterrupt))
        raise
    _finish(runs, reasons, "")
    return status


def _finish(
    runs: Sequence[CollectedRun], reasons: dict[int, str], reason: str, *, is_interrupted: bool = False
) -> None:
    """Record how every run ended. A disk that is full must not replace the error that is on its way."""
    for run in runs:
        try:
            run.finish(reasons.get(id(run), reason), is_interrupted=is_interrupted)
        except OSError as error:
            cli.warn(f"how the run of {run.job.name} ended could not be recorded: {error}")
