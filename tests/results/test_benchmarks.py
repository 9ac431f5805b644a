"""pytest-benchmark's files as sides of a comparison."""

import pytest

from results import benchmarks
from results.compare import compare
from tests.results.builders import benchmark_file


def side(folder, *medians, **changes):
    return benchmarks.read([benchmark_file(folder / f"{n}.json", changes, step=one) for n, one in enumerate(medians)])


def test_a_file_is_one_sample_of_each_benchmark(tmp_path):
    found = benchmarks.read([benchmark_file(tmp_path / "a.json", ema=0.5, sgd=0.25)])
    assert [(one.recipe, one.values["time"]) for one in found] == [
        ("test_kernels.py::test_ema", (0.5,)),
        ("test_kernels.py::test_sgd", (0.25,)),
    ]
    assert dict(found[0].facts) == {"machine": "A CPU, 2 cores", "protocol": "pytest-benchmark"}
    assert dict(found[0].notes) == {"commit": "c" * 12 + " with changes", "python": "3.12.1"}


def test_files_that_differ_are_found_and_single_ones_are_too_few(tmp_path):
    steady = (1.0, 1.001, 0.999, 1.002, 0.998)
    (row,) = compare(side(tmp_path / "old", *steady), side(tmp_path / "new", *(1.05 * one for one in steady)))
    assert (row.metric.name, row.verdict) == ("time", "worse")
    assert row.change.size == pytest.approx(1.05)
    (row,) = compare(side(tmp_path / "old", 1.0), side(tmp_path / "new", 1.05))
    assert (row.verdict, row.change.size) == ("undecided", pytest.approx(1.05))


def test_another_machine_is_not_comparable(tmp_path):
    other = {"machine_info": {"machine_class": "NVIDIA H100"}}
    (row,) = compare(side(tmp_path / "old", 1.0), side(tmp_path / "new", 1.0, **other))
    assert row.verdict == "not comparable"
    assert "machine: A CPU, 2 cores → NVIDIA H100" in row.reason


def test_benchmarks_and_runs_lie_apart(tmp_path):
    file = benchmark_file(tmp_path / "storage" / "Linux" / "0001.json", step=1)
    assert benchmarks.locate(tmp_path / "storage") == [file]
    assert benchmarks.locate(f"{tmp_path}/storage/*/0*.json") == [file]
    assert benchmarks.locate("mnist/base") == []
    run = tmp_path / "runs" / "one" / "run.json"
    run.parent.mkdir(parents=True)
    run.touch()
    assert benchmarks.locate(run) == benchmarks.locate(tmp_path / "runs") == benchmarks.locate(tmp_path) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "Invalid JSON"),
        ('{"benchmarks": []}', "benchmarks"),
        (
            '{"benchmarks": [{"fullname": "a", "stats": {"median": -1}}], "machine_info": {}, "commit_info": {}}',
            "benchmarks.0.stats.median: Input should be greater than 0",
        ),
    ],
)
def test_anything_else_is_an_error(tmp_path, text, said):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"a.json: not what pytest-benchmark writes: .*{said}"):
        benchmarks.read([path])
