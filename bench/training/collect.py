"""Runs whose trials come from other processes, and hosts, one by one. This process alone writes them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.command_line import cli
from bench.command_line.jobs import Job
from pipelines.recipe import Recipe
from results import store, writer
from results.environment import known
from results.files import write_sources
from results.record import Host, Run, RunRecord, TrialRecord

MAY_DIFFER = {"machine_id"}
"""between the hosts of a run"""


class CollectedRun:
    """One run of a job. A new one gets its directory with its first trial, whose environment is the run's."""

    def __init__(self, job: Job, out: Path, command: Sequence[str]) -> None:
        self.job = job
        self._out = out
        self._command = list(command)
        self._directory: store.RunDirectory | None = None

    @property
    def path(self) -> Path | None:
        """Its directory; None before its first trial."""
        return self._directory.path if self._directory else None

    @property
    def missing_seeds(self) -> list[int]:
        """The seeds that have no trial yet, in their order."""
        return self._directory.missing_seeds if self._directory else list(self.job.seeds)

    def resume(self) -> None:
        """Continue the latest unfinished run of the same job, if there is one.

        ValueError where another process writes it.
        """
        if found := _unfinished(self.job, self._out):
            record = found.record.model_copy(update={"writer": writer.this_process()})
            self._directory = store.resume(found.path, record)

    def add(self, found: Run, sources: Mapping[str, str]) -> TrialRecord:
        """Write the one trial of a run that was recorded elsewhere. Returns it as it is recorded here.

        sources: the user's own texts that were trained, by file name.

        ValueError, which names what differs, for a trial that cannot be of this run.
        """
        (trial,) = found.trials
        if self._directory is None:
            self._directory = store.create(self._out, self._new_record(found.record))
            write_sources(self._directory.path, sources)
        differing = store.differences(self._directory.record, found.record)
        host = known(found.record.environment.host_hash) or "unknown"
        for key, (first, own) in differing.items():
            if key not in MAY_DIFFER:
                raise ValueError(
                    f"on host {host} {key} is {own!r}, and where the run began it is {first!r}: the hosts of a run "
                    "must be alike"
                )
        gpus = [str(known(gpu.uuid)) for gpu in found.record.environment.gpus if known(gpu.uuid)]
        update = {"index": self.job.seeds.index(trial.seed), "host": Host(hash=host, gpus=tuple(gpus))}
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


def _unfinished(job: Job, folder: Path) -> Run | None:
    runs = store.find([folder], skip=cli.warn) if any(folder.glob("*/run.json")) else []
    wanted = (job.name, list(job.seeds), job.smoke_test)
    alike = [
        run
        for run in runs
        if (run.record.recipe_name, run.record.seeds, run.record.smoke_test) == wanted
        and run.missing_seeds
        and (not isinstance(job.recipe, Recipe) or job.recipe.hash == run.record.recipe_hash)
    ]
    return alike[-1] if alike else None
