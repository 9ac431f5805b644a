"""How a search ends: tables of its trials and of the importance of each option, and the winning recipe as a file."""

from collections.abc import Sequence
from pathlib import Path

import optuna
import yaml
from optuna.trial import TrialState

from bench.search_space import nested
from bench.search_study import Plan, best_of, importances, shown
from pipelines import recipe as recipes
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
    caption = f"{len(whole)} trials trained to the end, {pruned} pruned; accuracy on held-out training images."
    weights = importances(studies[0])
    options = tuple((key, f"{weights[key]:.0%}" if key in weights else NOTHING) for key in keys)
    return [
        Table("best trials", ("trial", "accuracy %", *keys), rows, caption),
        Table("importance", ("option", "share"), options, "Of the score's variance in the coarse stage (fANOVA)."),
    ]


def write_winner(path: Path, plan: Plan, studies: Sequence[optuna.Study]) -> None:
    """The recipe with the best values, evaluated on the test set again, as a file that is built on it."""
    best = best_of(list(studies))
    fixed = {key: yaml.safe_load(text) for key, _, text in (word.partition("=") for word in plan.fixed)}
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
