"""How a search ends: tables of its trials and of the importance of each option, and the winning recipe as a file."""

from collections.abc import Sequence
from pathlib import Path

import optuna
import yaml
from optuna.trial import FrozenTrial, TrialState

from bench.searching.search_space import nested
from bench.searching.search_study import Plan, best_of, importances, shown
from pipelines import recipe as recipes
from pipelines.recipe import yaml_reader
from results.tables import NOTHING, Table

ROWS = 10
"""best trials that are shown"""


def tables(studies: Sequence[optuna.Study]) -> list[Table]:
    """The best trials of all stages, and how much each option mattered in the widest."""
    trials = [(study.study_name, trial) for study in studies for trial in study.get_trials(deepcopy=False)]
    whole = [(stage, trial) for stage, trial in trials if trial.state == TrialState.COMPLETE]
    pruned = sum(trial.state == TrialState.PRUNED for _, trial in trials)
    keys = list(studies[0].user_attrs["space"])
    rows = tuple(
        (f"{stage} {trial.number + 1}", f"{100 * trial.value:.2f}", *(shown(trial.params[key]) for key in keys))
        for stage, trial in sorted(whole, key=lambda pair: -pair[1].value)[:ROWS]
    )
    caption = f"{len(whole)} trials trained to the end, {pruned} pruned; accuracy on held-out training images, or as "
    caption += "a function of your own reports it."
    weights = importances(studies[0])
    options = tuple((key, f"{weights[key]:.0%}" if key in weights else NOTHING) for key in keys)
    return [
        Table("best trials", ("trial", "accuracy %", *keys), rows, caption),
        Table("importance", ("option", "share"), options, "Of the score's variance in the coarse stage (fANOVA)."),
    ]


def write_winner(path: Path, plan: Plan, studies: Sequence[optuna.Study]) -> None:
    """The recipe with the best values, evaluated on the test set again, as a file that is built on it."""
    best = best_of(list(studies))
    if plan.is_own:
        write_own_winner(path, plan, best)
        return
    fixed = {key: yaml_reader.read(text) for key, _, text in (word.partition("=") for word in plan.fixed)}
    base = str(Path(plan.name).resolve()) if plan.name.endswith((".yaml", ".yml")) else plan.name
    title = f"{recipes.title(plan.name)}, tuned"
    settings = {"title": title if len(title) <= 100 else f"{plan.name}, tuned", "base": base}
    count = sum(len(study.get_trials(deepcopy=False)) for study in studies)
    head = (
        f"# Found by bench/search.py ({plan.sampler}, {count} trials): {best.value:.2%} on a held-out share of "
        f"{plan.validation:g}\n# of the training images. The search never saw the test set.\n"
    )
    text = head + yaml.safe_dump(settings | nested(fixed | best.params), sort_keys=False, width=120)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def write_own_winner(path: Path, plan: Plan, best: FrozenTrial) -> None:
    """The function of the user's own with the best values, as a file that bench/run.py takes."""
    function = plan.recipe(best.params)
    assert isinstance(function, recipes.Function)
    settings = function.model_dump(mode="json", exclude_none=True, include={"target", "data", "arguments"})
    entry = {"entry": f"{function.path.resolve()}:{function.function}"}
    head = f"# Found by bench/search.py ({plan.sampler}): {best.value:.2%}, as the function reports it\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(head + yaml.safe_dump(entry | settings, sort_keys=False, width=120), encoding="utf-8")
