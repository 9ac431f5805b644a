"""Train the trials of a recipe and record them: where pipelines and results meet."""

import contextlib
import dataclasses
import os
import secrets
import signal
import sys
import time
import traceback
from collections.abc import Generator, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import torch

from bench.command_line.cli import cause_of, print_error, rank_prefix, terminating, warn
from bench.command_line.invocation import as_typed, recorded
from bench.command_line.jobs import Job, RunOptions
from bench.training import events, profiles, trainers
from bench.training.launch import ROOT
from bench.training.live_view import TrialLines
from bench.training.trainers import Trainer
from pipelines.clock import Lap, process_started
from pipelines.distributed import all_reduce, failures, process_group
from pipelines.distributed.process_group import World
from pipelines.host import environment, gpu_sampler, load, memory_limit
from pipelines.probes import energy
from pipelines.scripts.run import ScriptError
from pipelines.trial import Trial
from results import files, marks, store, writer
from results.record import Run, RunRecord, TrialRecord

PROCESS_STARTED = process_started()
NOT_LOADED, NOT_SET_UP = -4, -2
"""in place of the index of a run's next trial; even, so that runs are loaded and set up in their order"""
INTERRUPTION = 3.0
"""seconds that a stopped process waits for the others, which may have been stopped too"""


def train(job: Job, options: RunOptions, world: World, view: TrialLines, *, is_first: bool = True) -> Run:
    """Run the trials of a job, or those that its run still misses. Returns the run as it was recorded.

    is_first: the first job of this process, whose first trial is timed from the start of the process.

    Raises ValueError for data, a recipe or a resumed run that cannot be used, and OSError for a record that cannot be
    written. Any other error ends the run with a RuntimeError, after the record says so.
    """
    interleaved = os.environ.get(events.INTERLEAVED)
    (run,) = _alternate([_trials(job, options, world, view, is_first=is_first, interleaved=interleaved)])
    return run


def train_interleaved(jobs: Sequence[Job], options: RunOptions, world: World, views: Sequence[TrialLines]) -> list[Run]:
    """Train all jobs, one trial of each in turn, so that a drift of the machine affects all of them equally: A B, B A,
    A B, … Of runs to finish, those that miss an earlier trial catch up first.

    No trial is timed from the start of the process, which all jobs share. Raises as `train`.
    """
    shared = world.broadcast_object(jobs[0].interleaved or secrets.token_hex(4))
    each = zip(jobs, views, strict=True)
    return _alternate([_trials(job, options, world, view, is_first=False, interleaved=shared) for job, view in each])


def _alternate(runs: Sequence[Generator[int, None, Run]]) -> list[Run]:
    """The finished runs in their order. Each time the run goes on whose next trial has the lowest index; of several the
    first where that index is even, and the last where it is odd. If one fails, all end."""
    ended: dict[int, Run] = {}
    upcoming = dict.fromkeys(range(len(runs)), NOT_LOADED)  # the index of each run's next trial, as `_trials` yields it
    with terminating():
        try:
            while upcoming:
                index = min(upcoming.values())
                alike = [number for number, its_next in upcoming.items() if its_next == index]
                number = alike[-1 if index % 2 else 0]
                try:
                    upcoming[number] = next(runs[number])
                except StopIteration as end:
                    ended[number] = end.value
                    del upcoming[number]
        finally:
            for trials in runs:
                trials.close()
    return [run for _, run in sorted(ended.items())]


def _trials(
    job: Job, options: RunOptions, world: World, view: TrialLines, *, is_first: bool, interleaved: str | None = None
) -> Generator[int, None, Run]:
    """One run. Yields the index of each of its trials before it, so that others can train one of theirs, and the number
    of all before its probes. Before a record is made it yields `NOT_SET_UP`, so that others can find out first that
    their file or data will not do."""
    startup = Lap("startup", time.perf_counter() - PROCESS_STARTED)
    memory_limit.check(world.device, options.memory_limit)
    trainer = trainers.make_trainer(job.recipe, options, world, smoke_test=job.smoke_test)
    limit = memory_limit.Limit(world.device, options.memory_limit)
    is_first = is_first and trainer.starts_with_process
    if world.size > 1:
        process_group.check_alike(world, world.run_on_all(lambda: facts(job, trainer)))
    yield NOT_SET_UP
    trainer.set_up()

    began = load.read()
    captured = world.gather(environment.capture(world.device))
    places = world.gather(failures.place())
    link = all_reduce.all_reduce_seconds(world)
    record = new_record(
        job,
        world,
        captured,
        dict(trainer.environment) | ({"all_reduce": link} if link else {}),
        recipe=dict(trainer.description),
        recipe_hash=trainer.hash,
        data=trainer.data,
        command=recorded("bench/run.py", sys.argv[1:]),
        interleaved=interleaved,
    )
    directory = world.run_on_all(lambda: open_directory(job, options, record) if world.is_main else None)
    seeds = world.broadcast_object(directory.missing_seeds if directory else None)
    observers: list[Any] = [view]
    if options.track and directory:
        observers.append(trainer.tracker(directory.path))
    view.start_run(job.name, len(seeds))
    for warning in trainer.warnings:
        view.line(warning)
    with ending(directory, world, places, view), limit.held():
        if directory:
            files.write_sources(directory.path, trainer.sources)
        before_first = [startup] if is_first else []
        before_first += trainer.laps
        waited = 0.0
        if seeds and options.wait_for_quiet:
            view.line(f"waiting for idle CPUs, at most {options.wait_for_quiet} s")
            waited = load.wait_for_quiet(options.wait_for_quiet, marks.BUSY, world)
            began = load.read()
        if not seeds:
            view.line("nothing to do: no trial is missing")
        if seeds or options.has_probes:  # a probe must not measure the compilation
            with gpu_sampler.sampled(world.device) as samples:
                before_first += filter(None, [trainer.warm_up()])
        if seeds:
            warnings = busy_warning(load.foreign_load(began, world)), gpu_sampler.unlocked_clocks(samples)
            for warning in filter(None, warnings):
                view.line(warning)
        for seed in seeds:
            index = job.seeds.index(seed)
            yield index
            if events.INTERLEAVED in os.environ:
                asked = time.perf_counter()
                world.wait_for_main(events.wait_for_permission)
                waited += time.perf_counter() - asked
            before, started = load.read(), datetime.now(UTC)
            trial = trainer.run_trial(seed, observers)
            times = {"started": started, "ended": datetime.now(UTC)}
            if before_first:
                total = [Lap("total", time.perf_counter() - PROCESS_STARTED - waited)] if is_first else []
                trial = dataclasses.replace(trial, laps=(*before_first, *trial.laps, *total))
                before_first = []
            foreign = load.foreign_load(before, world)
            if directory:
                directory.append(to_record(trial, index, times | {"foreign_load": foreign}))
            view.trial_finished(trial)
        if options.has_probes:
            yield len(job.seeds)  # none comes between the trials of a pair
        limit.lift()  # the probes below need memory of their own
        if directory and seeds and (flops := trainer.train_flops()):
            directory.note({"train_flops": flops})
        if options.profile:
            profiles.keep(trainer.profile(job.seeds[0]), directory, view)
        if options.energy:
            train = partial(trainer.run_trial, job.seeds[0])
            joules = energy.measure(world, train)
            profiles.keep_energy(joules, directory, view)
        if options.communication:
            profiles.keep_communication(trainer.communication(job.seeds[0]), directory, view)
    return store.read(directory.path) if directory else Run(record, (), options.out)


def facts_of_command(options: RunOptions, planned: Sequence[Job]) -> dict[str, str]:
    """What must be the same in the command lines of all processes: what they do together."""
    together = ("smoke_test", "wait_for_quiet", "profile", "energy", "communication")
    return {
        "recipes": ", ".join(job.name for job in planned),
        "--interleave": str(options.is_interleaved),
        **{f"--{name.replace('_', '-')}": str(getattr(options, name)) for name in together},
    }


def facts(job: Job, trainer: Trainer) -> dict[str, str]:
    """What must be the same on all processes of a run."""
    commit, _ = environment.git_state(ROOT)
    return {
        "recipe": f"{job.name} {trainer.hash}",
        "seeds": str(list(job.seeds)),
        "commit": str(commit),
        "code": environment.code_digest(ROOT),
        "torch": str(torch.__version__),
        **trainer.facts,
    }


def keep_traceback(directory: store.RunDirectory | None, error: ScriptError) -> str:
    """Write the traceback of the user's own code beside the record; where it is, for the message."""
    if directory is None or error.__cause__ is None:
        return ""
    path = directory.path / "traceback.txt"
    path.write_text("".join(traceback.format_exception(error.__cause__)), encoding="utf-8", errors="backslashreplace")
    return f"; the traceback is in {path}"


def open_directory(job: Job, options: RunOptions, record: RunRecord) -> store.RunDirectory:
    """The directory of a new run, or of the run to continue: after a restart by torchrun, that of the last attempt."""
    earlier = job.resume or last_attempt(options.out, record)
    return store.resume(earlier, record) if earlier else store.create(options.out, record)


def last_attempt(folder: Path, record: RunRecord) -> Path | None:
    """The run of the same recipe and seeds that another process of this launcher has written, if there is one.

    No variable says that this is a restart (`process_group.name_of_attempt`). Without `--max_restarts` there is none.
    """
    can_restart = os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0") != "0"
    if not can_restart or record.environment.launcher is None or record.interleaved:
        return None
    alike = (
        run
        for run in store.runs_in(folder, warn)
        if run.record.environment.launcher == record.environment.launcher
        and run.record.writer != record.writer
        and (run.record.recipe_hash, run.record.seeds) == (record.recipe_hash, record.seeds)
    )
    return next((run.path for run in alike), None)


def launcher() -> dict[str, str]:
    """Which torchrun, or `accelerate launch` for several processes, started this process; nothing if none did."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return {}
    parent = psutil.Process().parent()
    return {"launcher": f"{parent.pid} since {parent.create_time():.2f}"} if parent else {}


def new_record(
    job: Job, world: World, captured: list[dict[str, object]], own: Mapping[str, object] | None = None, **trained: Any
) -> RunRecord:
    """What is known of a run before it begins.

    captured: the environment of every process. own: what the training adds to it. trained: fields of what is trained.
    """
    commit, dirty = environment.git_state(ROOT)
    before = {
        "code": environment.uncommitted_code(ROOT, dirty),
        "machine_class": environment.machine_class(captured),
        "before": environment.telemetry(world.device),
    }
    ranks = {"ranks": environment.of_ranks(captured)} if world.size > 1 else {}
    return RunRecord(
        recipe_name=job.name,
        smoke_test=job.smoke_test,
        commit=commit,
        dirty=dirty,
        environment=captured[0] | launcher() | dict(own or {}) | before | ranks,
        world_size=world.size,
        seeds=list(job.seeds),
        writer=writer.this_process(),
        **trained,
    )


def to_record(trial: Trial, index: int, observed: Mapping[str, Any] | None = None) -> TrialRecord:
    """A trial as it is recorded. observed: what is known of the time around it."""
    return TrialRecord(index=index, **dataclasses.asdict(trial), **(observed or {}))


def busy_warning(foreign: float | None) -> str:
    """A line about a machine that is too busy for times that compare; empty for any other."""
    if foreign is None or foreign < marks.BUSY:
        return ""
    return (
        f"warning: other processes keep {foreign:.0%} of the CPUs busy: these times are not comparable with "
        "others. Wait with --wait-for-quiet SECONDS, or try --threads 1"
    )


def how_to_resume(directory: store.RunDirectory) -> str:
    """The options that continue a run, with those that this process interleaved with it: other processes have other
    code."""
    has_others = directory.record.interleaved and events.INTERLEAVED not in os.environ
    others = ", and one more --resume for each run that it was interleaved with" if has_others else ""
    return f"--resume {directory.path}{others}"


@contextlib.contextmanager
def ending(
    directory: store.RunDirectory | None, world: World, places: Sequence[failures.Place], view: TrialLines
) -> Iterator[None]:
    """Record how the run ended."""

    def finish(status: store.Status, reason: str | None = None) -> None:
        view.end_run()
        if directory:
            directory.finish(status, reason, {"after": environment.telemetry(world.device)})

    def finish_badly(status: store.Status, reason: str) -> None:
        """As `finish`, where an error is on its way that a full disk must not replace."""
        try:
            finish(status, reason)
        except OSError as error:
            print(f"warning: how the run ended could not be recorded: {error}", file=sys.stderr, flush=True)

    kept = f"; finished trials are kept; continue with {how_to_resume(directory)}" if directory else ""

    def lost(cause: str) -> None:
        finish_badly("interrupted" if failures.is_stop(cause) else "failed", cause)
        print_error("bench/run.py", RuntimeError(f"{cause}{kept}"))

    try:
        with failures.Watcher(world, places, lost):
            yield
    except KeyboardInterrupt as interrupt:
        name = cause_of(interrupt)
        cause = failures.stopped(world, places, name, INTERRUPTION) if world.size > 1 else None
        if cause and not failures.is_stop(cause):  # the launcher stops all processes when one has failed
            finish_badly("failed", cause)
            raise failures.PeerError(cause + kept) from None
        finish_badly("interrupted", cause or name)
        if cause:
            print(as_typed(f"{rank_prefix(os.environ)}bench/run.py: {cause}"), file=sys.stderr, flush=True)
        if directory:
            view.line(f"interrupted{kept}")
        raise
    except GeneratorExit:
        finish_badly("interrupted", "a run that it was interleaved with has ended early")
        raise
    except OSError as error:
        finish_badly("failed", failures.explain(world, error, places) if world.size > 1 else str(error))
        raise
    except Exception as error:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        reason = failures.explain(world, error, places)
        finish_badly("interrupted" if failures.is_stop(reason) else "failed", reason)
        if world.size > 1 and failures.is_of_a_peer(error):
            raise failures.PeerError(reason + kept) from None
        if isinstance(error, memory_limit.OutOfMemoryError):
            raise memory_limit.OutOfMemoryError(f"a trial of {view.name} failed: {reason}{kept}") from error
        if isinstance(error, ScriptError):
            raise ScriptError(f"{error}{keep_traceback(directory, error)}{kept}") from error
        raise RuntimeError(f"a trial of {view.name} failed: {reason}{kept}") from error
    finish("finished")
