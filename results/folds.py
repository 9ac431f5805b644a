"""Cross-validation: the runs of one recipe, each with another fold held out, as one line."""

import json
from collections.abc import Iterable
from statistics import fmean, stdev

from results.record import Run


def fold_lines(runs: Iterable[Run]) -> list[str]:
    """A line for each recipe of which at least two folds were trained: mean and standard deviation over the folds.

    A fold counts once, with the mean over its seeds: seeds of one fold share their held-out images, and are no sample
    of other images.
    """
    by_recipe: dict[tuple[str, str], dict[int | None, list[float]]] = {}
    for run in runs:
        if run.options.data.folds is not None and run.accuracies:
            data = {key: value for key, value in run.record.recipe["data"].items() if key != "fold"}
            same = json.dumps(run.record.recipe | {"data": data}, sort_keys=True)
            folds = by_recipe.setdefault((run.record.recipe_name, same), {})
            folds.setdefault(run.options.data.fold, []).extend(run.accuracies)
    return [_line(name, [*folds.values()]) for (name, _), folds in by_recipe.items() if len(folds) > 1]


def _line(name: str, folds: list[list[float]]) -> str:
    means = [100 * fmean(accuracies) for accuracies in folds]
    seeds = sorted({len(accuracies) for accuracies in folds})
    each = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    return (
        f"{name}: {len(folds)} folds, trials of each: {each}: held-out accuracy "
        f"{fmean(means):.2f} ± {stdev(means):.2f}% (mean ± standard deviation of the folds, "
        f"{min(means):.2f} to {max(means):.2f})"
    )
