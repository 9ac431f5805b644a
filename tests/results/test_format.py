"""Numbers as every table writes them."""

import pytest

from results import format as form
from results.statistics import median_summary


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0.0, "0"),
        (1, "1.000"),
        (0.46823, "0.4682"),
        (9.99996, "10.00"),
        (698.13, "698.1"),
        (33030.0, "33,030"),
        (278312, "278,300"),
        (0.00001234, "0.00001234"),
        (-2.5, "-2.500"),
    ],
)
def test_four_significant_digits_without_an_exponent(value, text):
    assert form.number(value) == text


def test_a_median_has_an_interval_from_six_samples_on_and_a_range_before():
    assert form.median(median_summary([1, 2, 3, 4, 5, 6])) == "3.500 [1.000, 6.000]"
    assert form.median(median_summary([1, 2, 3, 4, 5])) == "3.000 (1.000 to 5.000)"
    assert form.median(median_summary([2])) == "2.000"
    assert form.median(None) == "–"


@pytest.mark.parametrize(
    ("write", "value", "text"),
    [
        (form.percent, 0.940051, "94.01"),
        (form.share, 0.684, "68%"),
        (form.target, 0.94, "94%"),
        (form.target, 0.9905, "99.05%"),
        (form.change, 1.05, "+5.0%"),
        (form.change, 0.98, "-2.0%"),
        (form.points, -0.0012, "-0.12"),
        (form.milliseconds, 0.0382812, "38.28"),
        (form.published, 94.0, "94"),
        (form.published, 2.59, "2.59"),
        (form.p_value, 0.000123, "0.00012"),
    ],
)
def test_each_kind_of_number_has_one_form(write, value, text):
    assert write(value) == text
    assert write(None) == "–"


def test_an_accuracy_is_its_mean_and_half_of_its_interval():
    assert form.accuracy(0.94, (0.938, 0.942)) == "94.00 ± 0.20"
    assert form.accuracy(0.94, None) == "94.00"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.25, "0.25 s"),
        (40, "40 s"),
        (89, "89 s"),
        (720, "12 min"),
        (22_300, "6.2 h"),
        (260_000, "3 days"),
        (10_400_000, "120 days"),
    ],
)
def test_a_time_to_wait(seconds, text):
    assert form.duration(seconds) == text
