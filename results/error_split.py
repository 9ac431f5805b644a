"""Where a network's error comes from: bias and variance (Ng, "Machine Learning Yearning", 2018, chapters 20 to 22)."""

from collections.abc import Iterable
from statistics import fmean

from results.record import Run

NOTEWORTHY = 0.01
"""an error smaller than this is not spoken of"""


def error_lines(runs: Iterable[Run]) -> list[str]:
    """A sentence for each run that measured the accuracy on its training images at the end: means over its trials."""
    lines = []
    for run in runs:
        ends = [trial.epochs[-1] for trial in run.trials if trial.epochs]
        measured = [end for end in ends if end.train_accuracy is not None and end.accuracy_plain is not None]
        if measured:
            training, evaluated = (
                1 - fmean(getattr(end, name) for end in measured) for name in ("train_accuracy", "accuracy_plain")
            )
            lines.append(f"{run.record.recipe_name}: {sentence(training, evaluated)}")
    return lines


def sentence(training: float, evaluated: float) -> str:
    """The larger part of the error, from the errors on the training and on the evaluation images, as fractions."""
    bias, variance = training, evaluated - training
    numbers = f"(bias {bias:.2%}, variance {variance:.2%})"
    if max(bias, variance) < NOTEWORTHY:
        return f"no part of the error is over {NOTEWORTHY:.0%} {numbers}"
    return f"mostly {'underfitting' if bias >= variance else 'overfitting'} {numbers}"
