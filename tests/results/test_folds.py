from pathlib import Path
from statistics import stdev

from results.folds import fold_lines
from results.record import Run
from tests.results import builders


def fold(number, accuracies, name="digits/quick", folds=3, **data):
    recipe = {"data": {"name": "digits", "folds": folds, "fold": number, **data}}
    record = builders.record(recipe=recipe, recipe_name=name, seeds=list(range(len(accuracies))))
    trials = tuple(builders.trial(seed=seed, accuracy=value, target=0.5) for seed, value in enumerate(accuracies))
    return Run(record, trials, Path())


def test_a_fold_counts_once_with_the_mean_of_its_seeds():
    (line,) = fold_lines([fold(0, [0.90, 0.92]), fold(1, [0.94, 0.96]), fold(2, [0.97, 0.99])])
    assert line.startswith("digits/quick: 3 folds, trials of each: 2: held-out accuracy 94.67")
    assert f"± {stdev([91, 95, 98]):.2f}%" in line
    assert "91.00 to 98.00" in line


def test_recipes_that_differ_in_more_than_the_fold_are_kept_apart():
    runs = [fold(0, [0.9]), fold(1, [0.9]), fold(0, [0.8], fraction=0.5), fold(1, [0.8], fraction=0.5)]
    assert len(fold_lines(runs)) == 2
    assert len(fold_lines([*runs[:2], fold(0, [0.7], name="mnist/base"), fold(1, [0.7], name="mnist/base")])) == 2


def test_runs_of_one_fold_are_one_fold():
    assert fold_lines([fold(0, [0.9]), fold(0, [0.8])]) == []
    (line,) = fold_lines([fold(0, [0.9]), fold(0, [0.8]), fold(1, [0.95, 0.85])])
    assert line.startswith("digits/quick: 2 folds, trials of each: 2: held-out accuracy 87.50")


def test_one_fold_and_runs_without_folds_say_nothing():
    assert fold_lines([fold(0, [0.9])]) == []
    assert fold_lines([Run(builders.record(), (builders.trial(),), Path())] * 2) == []
