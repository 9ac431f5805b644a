"""A search whose trials train on the workers of a Ray cluster. This process asks the study for values and tells it.

Nothing is timed, so that a trial trains in the worker itself. An actor beside this process takes the accuracy of each
epoch, reports it to the study, and says whether the trial is behind.
"""

import contextlib
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import torch
from optuna.trial import TrialState

from bench.searching import search_space, search_study
from bench.searching.search_study import Plan, Report
from bench.training.cluster import Cluster
from bench.training.tasks import Failure
from pipelines import recipe as recipes
from pipelines.data import sources
from pipelines.data.dataset import Dataset
from pipelines.host import runtime
from pipelines.host.devices import find_device
from pipelines.recipe.training import Data


class Pruner:
    """A Ray actor that reports to the study for trials on other hosts. It opens the journal of its trials too."""

    def __init__(self) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._trials: dict[int, optuna.Trial] = {}

    def follow(self, trial: optuna.Trial) -> None:
        """Take reports of this trial from now on."""
        self._trials[trial.number] = trial

    def is_behind(self, number: int, epoch: int, accuracy: float) -> bool:
        """Whether the trial of this number should end after this epoch."""
        return search_study.is_behind(self._trials[number], epoch, accuracy)


@dataclass(frozen=True)
class ScoreTask:
    """One trial of a search."""

    plan: Plan
    values: dict[str, search_space.Value]
    number: int
    """in the study"""
    pruner: Any
    """the actor"""
    data_dir: Path
    folder: Path
    """that relative paths start from"""
    cpus: int
    gpus: float

    def train(self, at_a_time: int = 1) -> float | None:
        """The score; None of a trial that was pruned."""
        import ray

        def is_behind(epoch: int, accuracy: float) -> bool:
            return bool(ray.get(self.pruner.is_behind.remote(self.number, epoch, accuracy)))

        runtime.keep_memory()
        torch.set_num_threads(self.cpus)
        with contextlib.chdir(self.folder):
            recipe = self.plan.recipe(self.values)
            dataset = _dataset(recipe.data, self.data_dir) if isinstance(recipe, recipes.Recipe) else None
            device = find_device("cuda" if self.gpus else "cpu")
            try:
                return search_study.score(self.plan, self.values, dataset, self.data_dir, device, is_behind)
            except optuna.TrialPruned:
                return None


@functools.cache
def _dataset(data: Data, folder: Path) -> Dataset:
    """As a search has it. A worker keeps it between its trials."""
    return search_study.without_test_set(sources.load_of(data, folder))


def train_stage(
    plan: Plan,
    cluster: Cluster,
    resources: tuple[float, int],
    data_dir: Path,
    study: optuna.Study,
    wanted: int,
    report: Report,
) -> None:
    """Train until the study has so many finished trials. resources: the GPUs and CPU threads of a trial.

    ValueError where a trial cannot be trained, or its node is lost again and again.
    """
    import ray

    gpus, threads = resources
    space = search_space.from_json(study.user_attrs["space"])
    pruner = cluster.actor(Pruner)
    trials: dict[int, optuna.Trial] = {}

    def asked() -> Iterator[ScoreTask]:
        while search_study.finished(study) + len(trials) < wanted:
            search_study.check_unchanged(plan, study)
            trial = study.ask()
            trials[trial.number] = trial
            values = {key: search_study.suggest(trial, key, part) for key, part in space.items()}
            ray.get(pruner.follow.remote(trial))  # before its worker reports
            yield ScoreTask(plan, values, trial.number, pruner, data_dir.absolute(), Path.cwd(), threads, gpus)

    try:
        for task, found in cluster.train(asked(), at_most=max(1, cluster.places(threads, gpus))):
            if isinstance(found, Failure):
                raise ValueError(f"trial {task.number + 1}: {found.reason}")
            state = TrialState.PRUNED if found is None else TrialState.COMPLETE
            report(study, study.tell(trials.pop(task.number), found, state=state))
    finally:  # else a search that goes on would keep away from their values, as from those of trials that run
        for trial in trials.values():
            study.tell(trial, state=TrialState.FAIL)
