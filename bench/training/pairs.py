"""Pairs of trials over a cluster: two checkouts train the same seed on one host, one right after the other."""

import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from bench.command_line.cli import NO_VERDICT
from bench.command_line.jobs import Job
from bench.training.cluster import Cluster
from bench.training.collect import CollectedRun
from bench.training.events import Message
from bench.training.launch import Children, LaunchError
from bench.training.tasks import Failure, Trained, TrialTask, last_line, recorded
from results.environment import known


@dataclass(frozen=True)
class PairTask:
    """A trial, and the two checkouts that train it. While one trains, the other waits with its warm-up done."""

    trial: TrialTask
    checkouts: tuple[Path, Path]

    @property
    def cpus(self) -> int:
        """CPUs that are reserved for it."""
        return self.trial.cpus

    @property
    def gpus(self) -> float:
        """GPUs that are reserved for it."""
        return self.trial.gpus

    def train(self, at_a_time: int = 1) -> tuple[Trained, Trained] | Failure:
        """Train both. Neither is always the first: of odd seeds it is the second checkout."""
        with tempfile.TemporaryDirectory(prefix="paceline-") as name:
            folders = [Path(name) / side for side in ("a", "b")]
            launches = {}
            for folder, checkout in zip(folders, self.checkouts, strict=True):
                folder.mkdir()
                launch = self.trial.launch(folder / "runs", at_a_time)
                launches[folder.name] = replace(launch, checkout=checkout, errors=folder / "stderr")
            order = sorted(launches, reverse=self.trial.seed % 2 == 1)
            try:
                with Children() as children:
                    children.interleave({side: launches[side] for side in order}, 1, lambda side, event: None)
            except (LaunchError, OSError) as error:
                said = [last_line(folder / "stderr") for folder in folders if (folder / "stderr").exists()]
                return Failure(NO_VERDICT, next(filter(None, said), str(error)))
            before, after = (recorded(folder / "runs") for folder in folders)
            return before, after


def train(
    cluster: Cluster,
    job: Job,
    tasks: Sequence[PairTask],
    folders: tuple[Path, Path],
    command: Sequence[str],
    show: Callable[[Message], None],
) -> None:
    """Train all pairs and record each side of a pair as a run in its folder. LaunchError where a pair fails: the
    others are then ended."""
    with closing(cluster.train(tasks)) as trained:
        for number, (task, found) in enumerate(trained, start=1):
            seed = task.trial.seed
            if isinstance(found, Failure):
                raise LaunchError(f"{job.name}: seed {seed}: {found.reason}")
            for each, folder in zip(found, folders, strict=True):
                run = CollectedRun(replace(job, seeds=(seed,)), folder, command)
                run.add(each.run, each.sources)
                run.finish()
            host = known(found[0].run.record.environment.host_hash) or "unknown"
            show(Message(job.name, f"pair {number}/{len(tasks)}, seed {seed}, on host {host[:8]}"))
