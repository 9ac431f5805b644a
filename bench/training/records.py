"""What is recorded of a run before its first trial and after each: the record itself is `results.record`."""

import dataclasses
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil

from bench.command_line.cli import ROOT, warn
from bench.command_line.jobs import Job, RunOptions
from pipelines.distributed.process_group import World
from pipelines.host import environment, uncommitted
from pipelines.trial import Trial
from results import files, store, writer
from results.record import RunRecord, TrialRecord


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


def keep_uncommitted(directory: store.RunDirectory, show_line: Callable[[str], None]) -> None:
    """Write the uncommitted changes of Paceline's code beside the record; say so in a line where they are left out."""
    patch = uncommitted.diff(ROOT) if directory.record.dirty else ""
    if patch is None:
        show_line(f"warning: git cannot show the uncommitted changes: source/{files.UNCOMMITTED} is left out")
    elif (size := len(patch.encode(errors="surrogateescape"))) > files.MOST_KEPT:
        too_large = f"are {size:,} bytes, more than {files.MOST_KEPT:,}"
        show_line(f"warning: the uncommitted changes {too_large}: source/{files.UNCOMMITTED} is left out")
    elif patch:
        files.write_sources(directory.path, {files.UNCOMMITTED: patch})


def to_record(trial: Trial, index: int, observed: Mapping[str, Any] | None = None) -> TrialRecord:
    """A trial as it is recorded. observed: what is known of the time around it."""
    return TrialRecord(index=index, **dataclasses.asdict(trial), **(observed or {}))
