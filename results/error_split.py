"""Where a network's error comes from: bias, variance, mismatch, and the choice of the validation images.

After Ng, "Machine Learning Yearning" (2018), chapters 20 to 22 and 40 to 43.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean

from results.record import Run

NOTEWORTHY = 0.01
"""an error smaller than this is not spoken of"""


@dataclass(frozen=True)
class ErrorSplit:
    """Fractions. What a step could not be measured for is None. Negative: the later images are easier."""

    bias: float
    """error on the training images, over what is unavoidable"""
    variance: float | None
    """what comes on top on images of the same kind that were not trained on (train-dev)"""
    mismatch: float | None
    """what comes on top on the validation images, if they are of another kind"""
    choice: float | None
    """what comes on top on the test images, because options were chosen by the validation images"""

    @property
    def sentence(self) -> str:
        """The largest part, and what it is called."""
        parts = {
            "underfitting": self.bias,
            "overfitting": self.variance,
            "mismatch of training and validation images": self.mismatch,
            "overfitting of the validation images": self.choice,
        }
        known = {name: part for name, part in parts.items() if part is not None}
        name = max(known, key=known.__getitem__)
        numbers = ", ".join(
            f"{label} {part:.2%}"
            for label, part in zip(("bias", "variance", "mismatch", "choice"), parts.values(), strict=True)
            if part is not None
        )
        if known[name] < NOTEWORTHY:
            return f"no part of the error is over {NOTEWORTHY:.0%} ({numbers})"
        return f"mostly {name} ({numbers})"


def split_error(
    training: float,
    train_dev: float | None = None,
    validation: float | None = None,
    test: float | None = None,
    unavoidable: float = 0.0,
) -> ErrorSplit:
    """The parts of the error, from errors as fractions in this order; each part is the step from the last one known.

    train_dev: held out of the training images; validation: of the kind that the network is for. With only one set
    of held-out images, give it as `train_dev`; a test set of the same kind then adds what the choice of options cost.
    """
    steps: list[float | None] = []
    last = training
    for error in (train_dev, validation, test):
        steps.append(None if error is None else error - last)
        last = last if error is None else error
    if train_dev is None:  # the first step away from the training images holds the variance
        first = next((index for index, step in enumerate(steps) if step is not None), None)
        if first is not None:
            steps[0], steps[first] = steps[first], None
    variance, mismatch, choice = steps
    return ErrorSplit(training - unavoidable, variance, mismatch, choice)


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
            lines.append(f"{run.record.recipe_name}: {split_error(training, evaluated).sentence}")
    return lines
