from pathlib import Path

import pytest

from results.error_split import error_lines
from results.record import Run
from tests.results import builders


def ended(train_accuracy, accuracy):
    epoch = {"epoch": 1, "train_accuracy": train_accuracy, "accuracy": accuracy, "accuracy_plain": accuracy}
    return builders.trial(accuracy=accuracy, epochs=[epoch], target=0.5)


@pytest.mark.parametrize(
    ("accuracies", "sentence"),
    [
        ((0.9, 0.89), "mostly underfitting (bias 10.00%, variance 1.00%)"),
        ((1.0, 0.9), "mostly overfitting (bias 0.00%, variance 10.00%)"),
        ((0.999, 0.995), "no part of the error is over 1% (bias 0.10%, variance 0.40%)"),
        ((0.95, 0.96), "mostly underfitting (bias 5.00%, variance -1.00%)"),
    ],
)
def test_a_run_that_measured_its_training_accuracy_gets_a_sentence(accuracies, sentence):
    run = Run(builders.record(), (ended(*accuracies),), Path())
    assert error_lines([run]) == [f"{run.record.recipe_name}: {sentence}"]


def test_a_run_that_did_not_measure_it_gets_none():
    assert error_lines([Run(builders.record(), (ended(None, 0.9),), Path())]) == []
