from pathlib import Path

import pytest

from results.error_split import error_lines, split_error
from results.record import Run
from tests.results import builders


@pytest.mark.parametrize(
    ("errors", "parts", "word"),
    [
        ((0.10, 0.11, 0.12, 0.12), (0.10, 0.01, 0.01, 0.0), "underfitting"),
        ((0.01, 0.11, 0.12, 0.12), (0.01, 0.10, 0.01, 0.0), "overfitting ("),
        ((0.01, 0.02, 0.12, 0.12), (0.01, 0.01, 0.10, 0.0), "mismatch"),
        ((0.01, 0.02, 0.02, 0.12), (0.01, 0.01, 0.00, 0.10), "overfitting of the validation images"),
        ((0.01, None, 0.08, 0.08), (0.01, 0.07, None, 0.0), "overfitting ("),
        ((0.01, None, None, 0.08), (0.01, 0.07, None, None), "overfitting ("),
        ((0.01, 0.03, None, 0.08), (0.01, 0.02, None, 0.05), "overfitting of the validation images"),
        ((0.001, 0.005, 0.006, 0.007), (0.001, 0.004, 0.001, 0.001), "no part of the error is over 1%"),
    ],
)
def test_each_part_is_the_step_from_the_error_before(errors, parts, word):
    split = split_error(*errors)
    found = (split.bias, split.variance, split.mismatch, split.choice)
    assert [part is None for part in found] == [part is None for part in parts]
    assert [part for part in found if part is not None] == pytest.approx([part for part in parts if part is not None])
    assert word in split.sentence


def test_the_parts_add_up_to_the_last_error():
    split = split_error(0.03, 0.05, 0.09, 0.1, unavoidable=0.02)
    assert 0.02 + split.bias + split.variance + split.mismatch + split.choice == pytest.approx(0.1)


def test_what_is_unavoidable_is_no_bias():
    assert split_error(0.30, 0.32, unavoidable=0.30).bias == 0
    assert "overfitting" in split_error(0.30, 0.32, unavoidable=0.30).sentence


def ended(train_accuracy, accuracy):
    epoch = {"epoch": 1, "train_accuracy": train_accuracy, "accuracy": accuracy, "accuracy_plain": accuracy}
    return builders.trial(accuracy=accuracy, epochs=[epoch], target=0.5)


def test_a_run_that_measured_its_training_accuracy_gets_a_sentence():
    run = Run(builders.record(), (ended(1.0, 0.90),), Path())
    assert error_lines([run]) == [
        f"{run.record.recipe_name}: mostly overfitting (bias 0.00%, variance 10.00%)",
    ]
    assert error_lines([Run(builders.record(), (ended(None, 0.9),), Path())]) == []
