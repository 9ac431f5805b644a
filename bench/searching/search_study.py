"""One search: trials of a recipe with other options, scored on held-out images, kept in an Optuna study.

The study is a journal file. Any number of processes can share it, and a later search continues it.
"""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
from filelock import FileLock
from optuna.samplers import BaseSampler, GridSampler, RandomSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from bench.searching import search_space
from bench.searching.search_space import Choices, Range, Space
from bench.training.trainers import OwnTrainer
from pipelines import recipe as recipes
from pipelines.data import split
from pipelines.data.dataset import Dataset
from pipelines.distributed import process_group
from pipelines.events import State
from pipelines.recipe import Function, Recipe, Script
from pipelines.recipe.scripts import code_of
from pipelines.scripts.function import read_source
from pipelines.train import run_trial, set_up
from pipelines.trial import Trial

STAGES = ("coarse", "refined")
Report = Callable[[optuna.Study, FrozenTrial], None]
"""prints a trial that ended"""
TrainStage = Callable[[optuna.Study, int, Report], None]
"""trains until a study has so many finished trials, one of them to the end"""
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
PRUNERS: dict[str, Callable[[], optuna.pruners.BasePruner]] = {
    "median": optuna.pruners.MedianPruner,
    "hyperband": optuna.pruners.HyperbandPruner,
    "none": optuna.pruners.NopPruner,
}


@dataclass(frozen=True)
class Plan:
    """What is searched, and how."""

    name: str
    """of the recipe, or a path to its YAML file"""
    space: Space
    fixed: tuple[str, ...] = ()
    """overrides that all trials have"""
    sampler: str = "tpe"
    pruner: str = "median"
    trials: int = 20
    """of each stage, pruned ones included, over all processes"""
    points: int = 4
    """values of a range in a grid"""
    validation: float = 0.1
    seeds: int = 1
    """trainings that a score is the mean of"""
    sampler_seed: int | None = None

    def recipe(self, values: dict[str, search_space.Value]) -> Recipe | Script:
        """What is trained with these values. A recipe measures its accuracy on held-out images; RecipeError if it has
        none. A function of the user's own reports what it wants to be scored by."""
        held_out = [f"data.validation={self.validation}", "data.evaluate=validation"]
        changes = [*self.fixed, *([] if self.is_own else held_out), *search_space.overrides(values)]
        return recipes.load_any(self.name, changes)

    @property
    def asked(self) -> dict[str, object]:
        """What must stay the same while a study goes on, beside the space, in what JSON has."""
        return {
            "recipe": self.name,
            "fixed": sorted(self.fixed),
            "validation": self.validation,
            "seeds": self.seeds,
            "points": self.points if self.sampler == "grid" else None,
            "recipe hash": self.hash,
        }

    @property
    def corners(self) -> list[dict[str, search_space.Value]]:
        """The first and the last values of every part of the space."""
        return [{key: part.points(2)[end] for key, part in self.space.items()} for end in (0, -1)]

    @property
    def hash(self) -> str:
        """Of what is trained at a corner of the space: it changes with the files of the recipe or the function."""
        first = self.recipe(self.corners[0])
        if isinstance(first, Function):
            first = first.model_copy(update={"code": code_of(read_source(first.path))})
        return first.hash

    @property
    def is_own(self) -> bool:
        """Whether it is a function of the user's own that is searched."""
        return recipes.is_own(self.name)


class Pruning:
    """Reports the accuracy of each epoch, and ends a trial that is behind the others."""

    def __init__(self, is_behind: Callable[[int, float], bool]) -> None:
        self._is_behind = is_behind

    def epoch_end(self, state: State) -> None:
        epoch = state.history[-1]
        if epoch.accuracy is not None and self._is_behind(epoch.epoch, epoch.accuracy):
            raise optuna.TrialPruned


def is_behind(trial: optuna.Trial, epoch: int, accuracy: float) -> bool:
    """Report an accuracy to the study of a trial. Whether it should end."""
    trial.report(accuracy, epoch)
    return trial.should_prune()


def without_test_set(dataset: Dataset) -> Dataset:
    """No search can look at what it does not have."""
    return replace(dataset, test_images=dataset.test_images[:0], test_labels=dataset.test_labels[:0])


def trial_of(
    recipe: Recipe | Script, dataset: Dataset | None, data_dir: Path, device: torch.device
) -> Callable[[int, Sequence[Any]], Trial]:
    """What trains one seed, with observers. ValueError where the recipe, the data or the function will not do.

    dataset: of a recipe. data_dir: where a function finds its own.
    """
    world = process_group.alone(str(device))
    if isinstance(recipe, Function):
        return OwnTrainer(recipe, data_dir, world, smoke_test=False, track=False).run_trial
    assert isinstance(recipe, Recipe)
    assert dataset
    return partial(run_trial, set_up(recipe, split.select(dataset, recipe.data), world))


def score(
    plan: Plan,
    values: dict[str, search_space.Value],
    dataset: Dataset | None,
    data_dir: Path,
    device: torch.device,
    is_behind: Callable[[int, float], bool],
) -> float:
    """Mean accuracy on the held-out images, as a fraction; 0 when a training diverged.

    is_behind: gets each epoch and accuracy of the first seed. TrialPruned where it says so.
    """
    train = trial_of(plan.recipe(values), dataset, data_dir, device)
    accuracies = [train(seed, [Pruning(is_behind)] if seed == 0 else []).accuracy for seed in range(plan.seeds)]
    return sum(accuracy or 0.0 for accuracy in accuracies) / plan.seeds


def suggest(trial: optuna.Trial, key: str, part: Range | Choices) -> search_space.Value:
    """A value for an option, from the study's sampler."""
    if isinstance(part, Choices):
        return trial.suggest_categorical(key, part.options)
    if part.whole:
        return trial.suggest_int(key, int(part.low), int(part.high), log=part.log)
    return trial.suggest_float(key, part.low, part.high, log=part.log)


def make_sampler(plan: Plan, space: Space, known: int = 0) -> BaseSampler:
    """What draws the next trial's values.

    known: the trials that the study has already. A search that goes on draws other values than it began with.
    """
    seed = plan.sampler_seed
    if seed is not None and known:
        seed = int(np.random.SeedSequence([seed, known]).generate_state(1)[0])
    if plan.sampler == "grid":
        return GridSampler(search_space.grid(space, plan.points))  # a seed would number the points anew
    if plan.sampler == "random":
        return RandomSampler(seed=seed)
    return TPESampler(seed=seed, constant_liar=True)  # keeps away from what other workers try


def open_study(plan: Plan, journal: Path, stage: str) -> optuna.Study:
    """The study of a stage, which is made if there is none."""
    return optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(journal))),
        study_name=stage,
        direction="maximize",
        pruner=PRUNERS[plan.pruner](),
        load_if_exists=True,
    )


def finished(study: optuna.Study) -> int:
    """Its trials that count."""
    return len(study.get_trials(deepcopy=False, states=FINISHED))


def run(plan: Plan, journal: Path, train_stage: TrainStage, print_line: Callable[[str], None]) -> list[optuna.Study]:
    """Search in two stages: the whole space, then a quarter of each range around the best. Returns both studies.

    Continues what is in the journal. ValueError for a search of something else, or a trial that cannot be run.
    """

    def report(study: optuna.Study, trial: FrozenTrial) -> None:
        result = f"{trial.value:.2%}" if trial.state == TrialState.COMPLETE else trial.state.name.lower()
        values = ", ".join(f"{key}={shown(value)}" for key, value in trial.params.items())
        print_line(f"{study.study_name} {trial.number + 1}: {result}  {values}")

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    # lists and groups may be chosen from: a journal keeps all that JSON has
    warnings.filterwarnings("ignore", "Choices for a categorical distribution")
    journal.parent.mkdir(parents=True, exist_ok=True)
    studies: list[optuna.Study] = []
    for stage in STAGES:
        with FileLock(f"{journal}.stage"):  # one process says where a stage searches
            study = open_study(plan, journal, stage)
            best = studies[0].best_params if studies else None
            if "space" not in study.user_attrs:
                first = search_space.refined(plan.space, best) if best else plan.space
                study.set_user_attr("space", search_space.to_json(first))
                study.set_user_attr("asked", (studies or [study])[0].user_attrs.get("asked", plan.asked))
            space = search_space.from_json(study.user_attrs["space"])
            if stage == STAGES[0]:
                check_same(plan, journal, space, study.user_attrs.get("asked", plan.asked))
            retry_failed(study)
        study.sampler = make_sampler(plan, space, len(study.get_trials(deepcopy=False)))
        wanted = plan.trials
        if plan.sampler == "grid":
            wanted = min(wanted, math.prod(len(values) for values in search_space.grid(space, plan.points).values()))
        train_stage(study, wanted, report)
        studies.append(study)
    return studies


def check_same(plan: Plan, journal: Path, space: Space, asked: Mapping[str, object]) -> None:
    """ValueError where a journal, which was begun with this space and these settings, is of another search."""
    if space != plan.space:
        raise ValueError(f"{journal} is a search of another space: give another --study")
    for name, value in plan.asked.items():
        if asked.get(name, value) != value:
            raise ValueError(f"{journal} is a search with {name} {asked[name]}, not {value}: give another --study")


def check_unchanged(plan: Plan, study: optuna.Study) -> None:
    """ValueError where the recipe or the function is no longer the one that the search began with."""
    now = plan.hash
    if study.user_attrs.get("asked", {}).get("recipe hash", now) != now:
        raise ValueError(f"{plan.name}: has changed since the search began: change it back, or give another --study")


def retry_failed(study: optuna.Study) -> None:
    """Queue the points of a grid at which a trial was broken off and that no other trial has or had: the sampler counts
    them as visited."""
    trials = study.get_trials(deepcopy=False)
    points = {trial.system_attrs["grid_id"]: trial for trial in trials if "grid_id" in trial.system_attrs}
    tried = {trial.system_attrs.get("grid_id") for trial in trials if trial.state != TrialState.FAIL}
    for point in points.keys() - tried:
        attributes = points[point].system_attrs
        study.add_trial(optuna.trial.create_trial(state=TrialState.WAITING, system_attrs=attributes))


def train_stage(
    plan: Plan,
    dataset: Dataset | None,
    data_dir: Path,
    device: torch.device,
    study: optuna.Study,
    wanted: int,
    report: Report,
) -> None:
    """Train here until all processes together have finished as many trials as are wanted."""
    dataset = dataset and without_test_set(dataset)
    space = search_space.from_json(study.user_attrs["space"])

    def objective(trial: optuna.Trial) -> float:
        values = {key: suggest(trial, key, part) for key, part in space.items()}
        return score(plan, values, dataset, data_dir, device, partial(is_behind, trial))

    while finished(study) < wanted:
        check_unchanged(plan, study)
        study.optimize(objective, n_trials=1, callbacks=[report])


def best_of(studies: list[optuna.Study]) -> FrozenTrial:
    """The best trial of all stages."""
    return max((study.best_trial for study in studies), key=lambda trial: trial.value)


def importances(study: optuna.Study) -> dict[str, float]:
    """The share of the score's variance that each option explains (functional ANOVA, Hutter et al. 2014)."""
    scores = {trial.value for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))}
    if len(scores) < 2:
        return {}
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    return optuna.importance.get_param_importances(study, evaluator=evaluator)


def shown(value: search_space.Value) -> str:
    """A value as tables have it."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
