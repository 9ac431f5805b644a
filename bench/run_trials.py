"""Train one recipe's trials and keep the record: where the pipelines and the results meet."""

import argparse
import contextlib
import dataclasses
import os
import secrets
import signal
import sys
import time
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import psutil
import torch

from bench import profiles, tracking
from bench.live_view import TrialLines
from bench.run_arguments import Job, Options
from bench.turns import wait_for_turn
from pipelines.clock import Lap
from pipelines.data import fingerprint, sources, split
from pipelines.data.dataset import Dataset
from pipelines.distributed import all_reduce, failures, process_group
from pipelines.distributed.process_group import World
from pipelines.estimate import estimate
from pipelines.host import environment
from pipelines.host.devices import make_clock, number_formats
from pipelines.probes import energy
from pipelines.probes.profiling import profile_training
from pipelines.recipe.training import Data
from pipelines.train import TrainingSetup, run_trial, set_up
from pipelines.trial import Trial
from pipelines.warmup import warm_up
from results import store
from results.record import DataHashes, Run, RunRecord, TrialRecord

REPOSITORY = Path(__file__).resolve().parents[1]
PROCESS_STARTED = time.perf_counter() - (time.time() - psutil.Process().create_time())
"""when this process was started, before Python began, on the clock that laps are measured with"""


INTERRUPTION = 0.5
"""seconds in which the processes that were interrupted say so to each other"""


class Terminated(KeyboardInterrupt):
    """SIGTERM came. Handled as Ctrl-C is: the trial in progress is lost, the others are kept."""


def train(job: Job, options: Options, world: World, view: TrialLines, *, is_first: bool = True) -> Run:
    """Run the trials of a job, or those that its run still misses; returns the run as it was kept.

    `is_first`: the first job of this process, whose first trial is timed from the start of the process.

    Raises ValueError for data, a recipe or a resumed run that will not do, and OSError for a record that cannot be
    written; whatever else ends the run early is told of in a RuntimeError, after the record says so.
    """
    (run,) = _in_turns([_trials(job, options, world, view, is_first=is_first, turns=options.turns)])
    return run


def train_in_turns(jobs: Sequence[Job], options: Options, world: World, views: Sequence[TrialLines]) -> list[Run]:
    """All jobs at once, a trial each in turn, so that a drift of the machine meets all of them alike.

    None of them is timed from the start of the process, which belongs to all. Raises as `train`.
    """
    turns = world.broadcast_object(secrets.token_hex(4))
    each = zip(jobs, views, strict=True)
    return _in_turns([_trials(job, options, world, view, is_first=False, turns=turns) for job, view in each])


def _in_turns(going: Sequence[Generator[None, None, Run]]) -> list[Run]:
    """The runs in their order, each taken up to its next trial in turn. If one breaks off, all do."""
    ended: dict[int, Run] = {}
    with terminating():
        try:
            while len(ended) < len(going):
                for index, trials in enumerate(going):
                    if index not in ended:
                        try:
                            next(trials)
                        except StopIteration as end:
                            ended[index] = end.value
        finally:
            for trials in going:
                trials.close()
    return [run for _, run in sorted(ended.items())]


def _trials(
    job: Job, options: Options, world: World, view: TrialLines, *, is_first: bool, turns: str | None = None
) -> Generator[None, None, Run]:
    """One run, which lets others go on before each of its trials."""
    before_first = [Lap("startup", time.perf_counter() - PROCESS_STARTED)] if is_first else []
    clock = make_clock(world.device)
    with clock.lap("load"):
        whole = load_whole(job.recipe.data.name, options.data_dir, world)
        dataset = split.select(whole, job.recipe.data)
    data = DataHashes(**fingerprint.in_order(dataset), is_published=fingerprint.is_published(whole))
    del whole  # of which the recipe may leave most out
    if world.size > 1:
        process_group.check_alike(world, world.run_on_all(lambda: facts(job, data, world)))
    bench = set_up(job.recipe, dataset, world)
    if options.track:
        tracking.check(bench)

    captured = world.gather(environment.capture(world.device))
    places = world.gather(failures.place(captured[world.rank]["host_hash"]))
    link = all_reduce.all_reduce_seconds(world)
    record = new_record(job, bench, data, captured, link, turns)
    directory = world.run_on_all(lambda: open_directory(job, options, record) if world.is_main else None)
    seeds = world.broadcast_object(directory.missing_seeds if directory else None)
    observers: list[Any] = [view]
    if options.track and directory:
        observers.append(tracking.Tracker(bench, directory.path))
    view.start_run(job.name, len(seeds))
    if not data.is_published:
        view.line(f"warning: the images or labels of {dataset.name} are not the published ones: the record says so")
    with ending(directory, world, places, view):
        before_first += clock.laps
        if seeds:
            before_first.append(warm_up(bench))
        else:
            view.line("nothing to do: no trial is missing")
        for seed in seeds:
            yield
            if options.turns:
                world.run_on_all(lambda: wait_for_turn() if world.is_main else None)
            trial = run_trial(bench, seed, observers)
            if before_first:
                total = [Lap("total", time.perf_counter() - PROCESS_STARTED)] if is_first else []
                trial = dataclasses.replace(trial, laps=(*before_first, *trial.laps, *total))
                before_first = []
            if directory:
                directory.append(to_record(trial, job.seeds.index(seed)))
            view.trial_finished(trial)
        if directory and seeds:
            directory.note({"train_flops": estimate(job.recipe, dataset, world.device).train_flops})
        if options.profile:
            profiles.keep(profile_training(bench, job.seeds[0]), directory, view)
        if options.energy:
            joules = energy.measure(bench, job.seeds[0], str(captured[world.rank]["host_hash"]))
            profiles.keep_energy(joules, directory, view)
    return store.read(directory.path) if directory else Run(record, (), options.out)


def load_data(config: Data, folder: Path, world: World) -> Dataset:
    """The recipe's part of its data set; rank 0 downloads what is missing, alone."""
    return split.select(load_whole(config.name, folder, world), config)


def load_whole(name: str, folder: Path, world: World) -> Dataset:
    """A whole data set; rank 0 downloads what is missing, alone."""
    first = world.run_on_all(lambda: sources.load(name, folder) if world.is_main else None)
    return world.run_on_all(lambda: first or sources.load(name, folder, download=False))


def facts(job: Job, data: DataHashes, world: World) -> dict[str, str]:
    """What must be the same on all processes of a run."""
    commit, _ = environment.git_state(REPOSITORY)
    return {
        "recipe": f"{job.name} {job.recipe.hash}",
        "seeds": str(list(job.seeds)),
        "commit": str(commit),
        "code": environment.code_digest(REPOSITORY),
        "torch": str(torch.__version__),
        "number formats": str(number_formats(job.recipe, world.device)),
        "data": data.model_dump_json(),
    }


def open_directory(job: Job, options: Options, record: RunRecord) -> store.RunDirectory:
    """The directory of a new run, or of the one to go on with: when torchrun has restarted us, of the last attempt."""
    is_restart = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"
    earlier = job.resume or (last_attempt(options.out, record) if is_restart and not record.turns else None)
    return store.resume(earlier, record) if earlier else store.create(options.out, record)


def last_attempt(folder: Path, record: RunRecord) -> Path | None:
    """The run of the same recipe and seeds that this launcher has begun before, if it has."""
    alike = (
        run
        for run in (store.find([folder]) if any(folder.glob("*/run.json")) else [])
        if run.record.environment.get("launcher") == record.environment.get("launcher")
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
    job: Job,
    bench: TrainingSetup,
    data: DataHashes,
    captured: list[dict[str, object]],
    link: list[tuple[int, float]],
    turns: str | None = None,
) -> RunRecord:
    """What is known of a run before it begins. captured: the environment of every process; link: as measured."""
    world = bench.world
    commit, dirty = environment.git_state(REPOSITORY)
    return RunRecord(
        recipe_name=job.name,
        recipe=job.recipe.model_dump(mode="json"),
        recipe_hash=job.recipe.hash,
        sample=job.sample,
        data=data,
        command=["bench/run.py", *without_folders(sys.argv[1:])],
        commit=commit,
        dirty=dirty,
        environment=captured[0]
        | launcher()
        | {"strategy": bench.strategy.name, "gradient_bytes": bench.gradient_bytes}
        | {"before": environment.telemetry(world.device)}
        | ({"ranks": environment.of_ranks(captured), "all_reduce": link} if world.size > 1 else {}),
        world_size=world.size,
        seeds=list(job.seeds),
        turns=turns,
    )


def without_folders(arguments: list[str]) -> list[str]:
    """A command line without the folders of this machine, which say nothing of a run and may name a person."""
    options = argparse.ArgumentParser(add_help=False, allow_abbrev=True)
    for option in ("--out", "--data-dir", "--resume"):
        options.add_argument(option)
    return options.parse_known_args(arguments)[1]


def to_record(trial: Trial, index: int) -> TrialRecord:
    """A trial as it is kept."""
    return TrialRecord(index=index, **dataclasses.asdict(trial))


@contextlib.contextmanager
def ending(
    directory: store.RunDirectory | None, world: World, places: Sequence[failures.Place], view: TrialLines
) -> Iterator[None]:
    """Write down how the run ended, whichever way it does."""

    def finish(status: store.Status, reason: str | None = None) -> None:
        view.end_run()
        if directory:
            directory.finish(status, reason, {"after": environment.telemetry(world.device)})

    kept = f"; finished trials are kept in {directory.path}: go on with --resume" if directory else ""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        cause = failures.find_cause(world, places, INTERRUPTION)[0] if world.size > 1 else None
        if cause:  # the launcher stops all processes when one has failed
            finish("failed", cause)
            raise failures.PeerError(cause + kept) from None
        finish("interrupted", "SIGTERM" if isinstance(interrupt, Terminated) else "Ctrl-C")
        if directory:
            view.line(f"stopped; finished trials are kept. Go on with --resume {directory.path}")
        raise
    except GeneratorExit:
        finish("interrupted", "a run that it took turns with broke off")
        raise
    except OSError as error:
        finish("failed", failures.explain(world, error, places) if world.size > 1 else str(error))
        raise
    except Exception as error:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        reason = failures.explain(world, error, places)
        finish("failed", reason)
        if world.size > 1 and failures.is_of_a_peer(error):
            raise failures.PeerError(reason + kept) from None
        raise RuntimeError(f"a trial of {view.name} broke off{kept}") from error
    finish("finished")


@contextlib.contextmanager
def terminating() -> Iterator[None]:
    """SIGTERM raises `Terminated`."""

    def terminate(signum: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # while it is written down
        raise Terminated

    previous = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
