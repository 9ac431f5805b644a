"""Train the trials of a recipe and record them: where pipelines and results meet."""

import dataclasses
import os
import secrets
import sys
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import torch

from bench.command_line.cli import ROOT, terminating
from bench.command_line.invocation import recorded
from bench.command_line.jobs import Job, RunOptions
from bench.training import events, profiles, records, trainers
from bench.training.ending import ending
from bench.training.live_view import TrialLines
from bench.training.looks import Looks
from bench.training.trainers import Trainer
from pipelines.clock import Lap, process_started
from pipelines.distributed import all_reduce, failures, process_group
from pipelines.distributed.process_group import World
from pipelines.host import environment, gpu_sampler, load, memory_limit, suspension
from pipelines.probes import energy
from results import files, marks, store
from results.record import Run, RunRecord

PROCESS_STARTED = process_started()
NOT_LOADED, NOT_SET_UP = -4, -2
"""in place of the index of a run's next trial; even, so that runs are loaded and set up in their order"""
Trials = Generator[int, bool | None, Run]
"""a run in progress, as `_trials` makes it"""


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
    plan = jobs[0].plan
    looks = Looks(plan, options.protocol, {*options.across, "recipe"}, world, views[0]) if plan else None
    runs = [
        _trials(job, options, world, view, is_first=False, interleaved=shared, looks=looks)
        for job, view in zip(jobs, views, strict=True)
    ]
    return _alternate(runs, looks)


def _alternate(runs: Sequence[Trials], looks: Looks | None = None) -> list[Run]:
    """The finished runs in their order. Each time the run goes on whose next trial has the lowest index; of several the
    first where that index is even, and the last where it is odd. If one fails, all end. At a look that decides, each
    is told to stop."""
    ended: dict[int, Run] = {}
    upcoming = dict.fromkeys(range(len(runs)), NOT_LOADED)  # the index of each run's next trial, as `_trials` yields it
    with terminating():
        try:
            while upcoming:
                index = min(upcoming.values())
                alike = [number for number, its_next in upcoming.items() if its_next == index]
                number = alike[-1 if index % 2 else 0]
                try:
                    is_over = looks is not None and looks.is_over(index)
                    upcoming[number] = runs[number].send(is_over or None)
                except StopIteration as end:
                    ended[number] = end.value
                    del upcoming[number]
        finally:
            for trials in runs:
                trials.close()
    return [run for _, run in sorted(ended.items())]


def _trials(
    job: Job,
    options: RunOptions,
    world: World,
    view: TrialLines,
    *,
    is_first: bool,
    interleaved: str | None = None,
    looks: Looks | None = None,
) -> Trials:
    """One run. Yields the index of each of its trials before it, so that others can train one of theirs, and the number
    of all before its probes; sent True, it trains no more. Before a record is made it yields `NOT_SET_UP`, so that
    others can find out first that their file or data will not do."""
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
    record = _record(job, world, trainer, captured, interleaved)
    directory = world.run_on_all(lambda: records.open_directory(job, options, record) if world.is_main else None)
    if looks:
        looks.opened(directory)
    seeds = world.broadcast_object(directory.missing_seeds if directory else None)
    view.start_run(job.name, len(seeds))
    for warning in trainer.warnings:
        view.line(warning)
    with ending(directory, world, places, view), limit.held():
        if directory:
            files.write_sources(directory.path, trainer.sources)
            records.keep_uncommitted(directory, view.line)
        training = _Training(job, options, world, trainer, directory, view)
        waited = training.wait_for_quiet() if seeds and options.wait_for_quiet else 0.0
        warm_up = training.warm_up(load.read() if waited else began) if seeds or options.has_probes else []
        laps = [*([startup] if is_first else []), *trainer.laps, *warm_up]
        yield from training.trials(seeds, laps, waited, is_first=is_first)
        if options.has_probes:
            yield len(job.seeds)  # none comes between the trials of a pair
        limit.lift()  # the probes need memory of their own
        training.probe(has_trained=bool(seeds))
    return store.read(directory.path) if directory else Run(record, (), options.out)


def _record(
    job: Job, world: World, trainer: Trainer, captured: list[dict[str, object]], interleaved: str | None
) -> RunRecord:
    link = all_reduce.all_reduce_seconds(world)
    return records.new_record(
        job,
        world,
        captured,
        dict(trainer.environment) | ({"all_reduce": link} if link else {}),
        recipe=dict(trainer.description),
        recipe_hash=trainer.hash,
        data=trainer.data,
        command=recorded("bench/run.py", sys.argv[1:]),
        interleaved=interleaved,
        plan=job.plan,
    )


@dataclass(frozen=True)
class _Training:
    """What a run does between the opening and the end of its record."""

    job: Job
    options: RunOptions
    world: World
    trainer: Trainer
    directory: store.RunDirectory | None
    """None on all processes but the first"""
    view: TrialLines

    def wait_for_quiet(self) -> float:
        """The seconds that it took."""
        self.view.line(f"waiting for idle CPUs, at most {self.options.wait_for_quiet} s")
        return load.wait_for_quiet(self.options.wait_for_quiet, marks.BUSY, self.world)

    def warm_up(self, began: load.Reading | None) -> list[Lap]:
        """Also before probes alone: they must not measure the compilation. `began`: since when other processes' load
        is measured."""
        with gpu_sampler.sampled(self.world.device) as samples:
            lap = self.trainer.warm_up()
        warnings = busy_warning(load.foreign_load(began, self.world)), gpu_sampler.unlocked_clocks(samples)
        for warning in filter(None, warnings):
            self.view.line(warning)
        return [lap] if lap else []

    def trials(
        self, seeds: Sequence[int], before_first: Sequence[Lap], waited: float, *, is_first: bool
    ) -> Generator[int, bool | None, None]:
        """Yields the index of each trial before it; sent True, it ends. The first trial has the laps before it and,
        in the first run of a process, the time since that began, without what it `waited`."""
        observers: list[Any] = [self.view]
        if self.options.track and self.directory:
            observers.append(self.trainer.tracker(self.directory.path))
        if not seeds:
            self.view.line("nothing to do: no trial is missing")
        for seed in seeds:
            index = self.job.seeds.index(seed)
            if (yield index):
                if self.directory:
                    self.directory.stop()
                return
            if events.INTERLEAVED in os.environ:
                asked = time.perf_counter()
                self.world.wait_for_main(events.wait_for_permission)
                waited += time.perf_counter() - asked
            before, started = load.read(), datetime.now(UTC)
            with suspension.watched() as clock:
                trial = self.trainer.run_trial(seed, observers)
            times = {"started": started, "ended": datetime.now(UTC)}
            if before_first:
                total = [Lap("total", time.perf_counter() - PROCESS_STARTED - waited)] if is_first else []
                trial = dataclasses.replace(trial, laps=(*before_first, *trial.laps, *total))
                before_first = []
            foreign, suspended = load.foreign_load(before, self.world), max(self.world.gather(clock.suspended))
            if self.directory:
                observed = times | {"foreign_load": foreign, "suspended_seconds": suspended}
                self.directory.append(records.to_record(trial, index, observed))
            self.view.trial_finished(trial)

    def probe(self, *, has_trained: bool) -> None:
        """What is measured after the trials, by more trainings of the first seed."""
        trainer, seed = self.trainer, self.job.seeds[0]
        if self.directory and has_trained and (flops := trainer.train_flops()):
            self.directory.note({"train_flops": flops})
        if self.options.profile:
            profiles.keep(trainer.profile(seed), self.directory, self.view)
        if self.options.energy:
            joules = energy.measure(self.world, partial(trainer.run_trial, seed))
            profiles.keep_energy(joules, self.directory, self.view)
        if self.options.communication:
            profiles.keep_communication(trainer.communication(seed), self.directory, self.view)


def facts_of_command(options: RunOptions, planned: Sequence[Job]) -> dict[str, str]:
    """What must be the same in the command lines of all processes: what they do together."""
    together = ("smoke_test", "wait_for_quiet", "profile", "energy", "communication")
    return {
        "recipes": ", ".join(job.name for job in planned),
        "--interleave": str(options.is_interleaved),
        "--until-decided": str(options.until_decided),
        "--limit": ", ".join(options.limit),
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


def busy_warning(foreign: float | None) -> str:
    """A line about a machine that is too busy for times that compare; empty for any other."""
    if foreign is None or foreign < marks.BUSY:
        return ""
    return (
        f"warning: other processes keep {foreign:.0%} of the CPUs busy: these times are not comparable with "
        "others. Wait with --wait-for-quiet SECONDS, or try --threads 1"
    )
