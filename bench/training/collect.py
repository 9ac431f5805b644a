"""Runs whose trials come from other processes, and hosts, one by one. This process alone writes them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.command_line import cli
from bench.command_line.cli import ROOT
from bench.command_line.jobs import Job
from pipelines.recipe import Function, Recipe, Script
from pipelines.recipe.scripts import code_of, sha256_of
from results import store, writer
from results.environment import known
from results.files import write_sources
from results.record import Host, Run, RunRecord, TrialRecord


class CollectedRun:
    """One run of a job. A new one gets its directory with its first trial, whose environment is the run's."""

    def __init__(self, job: Job, out: Path, command: Sequence[str]) -> None:
        self.job = job
        self.earlier: Run | None = None
        """the run to go on with"""
        self._out = out
        self._command = list(command)
        self._directory: store.RunDirectory | None = None

    @property
    def path(self) -> Path | None:
        """Its directory; None before its first trial."""
        begun = self._directory or self.earlier
        return begun.path if begun else None

    @property
    def missing_seeds(self) -> list[int]:
        """The seeds that have no trial yet, in their order."""
        begun = self._directory or self.earlier
        return begun.missing_seeds if begun else list(self.job.seeds)

    def find_latest(self) -> Run | None:
        """The latest run of the same job and code.

        ValueError where it is of other code and unfinished: it would refuse every trial, after its training.
        """
        from pipelines.host import environment  # which imports torch

        found = _latest(self.job, self._command, self._out)
        if found is None:
            return None
        commit, dirty = environment.git_state(ROOT)
        code = {"code": environment.uncommitted_code(ROOT, dirty)}
        changed = found.record.environment.model_copy(update=code)
        now = found.record.model_copy(update={"commit": commit, "dirty": dirty, "environment": changed})
        differing = store.differences(found.record, now)
        if not found.missing_seeds:
            return None if differing else found
        for key, (then, own) in differing.items():
            raise ValueError(
                f"{found.path}: cannot be resumed: {key} was {then!r} and is {own!r} now; go back to that code, or "
                "leave out --resume"
            )
        return found

    def resume(self) -> None:
        """Continue the earlier run, if it misses a trial. ValueError where another process writes it."""
        if (found := self.earlier) and found.missing_seeds:
            record = found.record.model_copy(update={"writer": writer.this_process()})
            self._directory = store.resume(found.path, record)

    def add(self, found: Run, sources: Mapping[str, str]) -> TrialRecord:
        """Write the one trial of a run that was recorded elsewhere. Returns it as it is recorded here.

        sources: texts to keep beside the record, by file name.

        ValueError, which names what differs, for a trial that cannot be of this run.
        """
        (trial,) = found.trials
        if self._directory is None:
            self._directory = store.create(self._out, self._new_record(found.record))
            write_sources(self._directory.path, sources)
        differing = store.differences(self._directory.record, found.record)
        host = known(found.record.environment.host_hash) or "unknown"
        for key, (first, own) in differing.items():
            if key not in store.DIFFER_BETWEEN_HOSTS:
                raise ValueError(
                    f"on host {host} {key} is {own!r}, and where the run began it is {first!r}: the hosts of a run "
                    "must be alike, and its files must not change"
                )
        placed = Host(hash=host, gpus=found.record.environment.gpu_uuids)
        update = {"index": self.job.seeds.index(trial.seed), "host": placed}
        kept = trial.model_copy(update=update)
        self._directory.append(kept)
        return kept

    def finish(self, reason: str | None = None, *, is_interrupted: bool = False) -> None:
        """Record how the run ended. reason: why trials are missing."""
        if self._directory:
            status = "interrupted" if is_interrupted else "failed" if self.missing_seeds else "finished"
            self._directory.finish(status, reason if self.missing_seeds else None)

    def _new_record(self, found: RunRecord) -> RunRecord:
        changes = {
            "recipe_name": self.job.name,
            "command": self._command,
            "seeds": list(self.job.seeds),
            "writer": writer.this_process(),
            "status": "running",
        }
        kept = found.model_dump(exclude={"id", "created", "reason"})
        return RunRecord.model_validate(kept | changes)


def go_on(runs: Sequence[CollectedRun]) -> None:
    """Let the runs of a command that was broken off go on: those that it had finished miss no trial. Writes nothing.

    Where no latest run of a job is unfinished, nothing was broken off, and all begin anew. Raises as
    `CollectedRun.find_latest`.
    """
    latest = [run.find_latest() for run in runs]
    if any(found and found.missing_seeds for found in latest):
        for run, found in zip(runs, latest, strict=True):
            run.earlier = found


def _latest(job: Job, command: Sequence[str], folder: Path) -> Run | None:
    wanted = (job.name, list(job.seeds), job.smoke_test)
    alike = [
        run
        for run in store.runs_in(folder, cli.warn)
        if (run.record.recipe_name, run.record.seeds, run.record.smoke_test) == wanted
        and _is_of(run.record, job, command)
    ]
    return alike[-1] if alike else None


def _is_of(record: RunRecord, job: Job, command: Sequence[str]) -> bool:
    """Whether a run is of what the job trains.

    The hash of a user's own training is known only where its file is loaded. Here the run must have every option that
    the job states, and its command must have set the same ones: the record has the defaults too. Its files must be as
    they were.
    """
    if isinstance(job.recipe, Recipe):
        return job.recipe.hash == record.recipe_hash
    stated = job.recipe.model_dump(mode="json", exclude_unset=True, exclude={"entry"})  # the record has another path
    is_alike = _has(record.recipe, stated) and _options(record.command) == _options(command)
    return is_alike and _has_its_files(record, job.recipe)


def _has_its_files(record: RunRecord, recipe: Script) -> bool:
    """Whether the files of a user's own training are those that a run began with."""
    from pipelines.scripts.function import read_source  # which imports torch

    if isinstance(recipe, Function):
        is_same = (record.options.entry or "").endswith(f":{recipe.function}")
        return is_same and record.options.code == code_of(read_source(recipe.path))
    if (files := record.options.files) is None:
        return False
    return all(Path(name).is_file() and sha256_of(Path(name)) == code for name, code in files.items())


def _has(recorded: object, stated: object) -> bool:
    """Whether a record has every option that is stated."""
    if isinstance(recorded, Mapping) and isinstance(stated, Mapping):
        return all(key in recorded and _has(recorded[key], value) for key, value in stated.items())
    return recorded == stated


def _options(command: Sequence[str]) -> set[str]:
    """The names of the options that a command sets as `key=value`."""
    return {word.partition("=")[0] for word in command if "=" in word and not word.startswith("-")}
