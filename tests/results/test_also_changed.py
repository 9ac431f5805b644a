"""What else changed: one line on versions, driver and environment variables that differ."""

import pytest

from results.also_changed import also_changed
from results.record import Run
from results.samples import of_run
from tests.results.builders import record, samples, trial


def noted(**notes):
    return samples([1.0], notes=notes)


def kept(tmp_path, **environment):
    """The samples of a run on this environment."""
    return of_run(Run(record(environment={"machine_class": "CPU", **environment}), (trial(0),), tmp_path), "strict")


def test_each_difference_is_named_once_in_one_line():
    before, after = noted(torch="2.13.0", driver="570", cuda="13"), noted(torch="2.14.0", driver="575", cuda="13")
    assert also_changed([before], [after]) == "also changed: torch 2.13.0 → 2.14.0, driver 570 → 575"
    assert also_changed([before], [before]) == ""


def test_what_a_side_never_captured_is_left_out():
    assert also_changed([noted(torch="2.13.0")], [noted(torch="2.13.0", driver="575")]) == ""
    assert also_changed([noted(driver="570"), noted()], [noted(driver="575")]) == "also changed: driver 570 → 575"


def test_of_many_values_the_first_and_the_last_are_named():
    nights = [noted(commit=name) for name in "dacb"]
    assert also_changed(nights, [noted(commit="e")]) == "also changed: commit d … b (4 values) → e"
    assert also_changed(nights[:2], [noted(commit="e")]) == "also changed: commit d and a → e"


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ({"versions": {"dali": None}}, {"versions": {"dali": "1.50"}}, "dali not installed → 1.50"),
        ({"versions": {}}, {"versions": {"dali": "1.50"}}, None),
        ({"versions": {"nccl": {"unknown": "why"}}}, {"versions": {"nccl": "2.27"}}, None),
        ({"os": {"kernel": "6.8"}}, {"os": {"kernel": "6.14"}}, "OS kernel 6.8 → 6.14"),
        (
            {"gpus": [{"index": 0, "driver": "570", "power_limit_w": 700.0}]},
            {"gpus": [{"index": 0, "driver": "575", "power_limit_w": 500.0}]},
            "driver 570 → 575, power limit 700 W → 500 W",
        ),
        ({"gpus": []}, {"gpus": [{"index": 0, "driver": "575"}]}, None),
        ({"variables": {}}, {"variables": {"OMP_PROC_BIND": "close"}}, "OMP_PROC_BIND unset → close"),
        ({"variables": {"MKL_CBWR": "AVX2"}}, {"variables": {"MKL_CBWR": "AVX"}}, "MKL_CBWR AVX2 → AVX"),
        ({}, {"variables": {"OMP_PROC_BIND": "close"}}, None),
        ({"variables": {"LOCAL_WORLD_SIZE": "1"}}, {"variables": {"LOCAL_WORLD_SIZE": "2", "WORLD_SIZE": "2"}}, None),
        ({"variables": {}}, {"variables": {"TORCHINDUCTOR_CACHE_DIR": "/tmp"}}, None),
    ],
)
def test_what_records_say_of_their_environment(tmp_path, before, after, said):
    found = also_changed([kept(tmp_path, **before)], [kept(tmp_path, **after)])
    assert found == (f"also changed: {said}" if said else "")
