"""A side of a comparison: every way to name it, and what is kept of a run."""

import subprocess
from pathlib import Path

import pytest

from results.differences import differences
from results.literature import published
from results.protocols import seconds_to_target, total_seconds
from results.record import Run
from results.samples import of_run, resolve
from results.store import create, read
from tests.results.builders import missed, record, trial


@pytest.fixture
def runs(tmp_path):
    for number, commit in enumerate(("a" * 40, "b" * 40)):
        run = create(tmp_path / "runs", record(id=f"id0{number}", commit=commit))
        run.append(trial(0))
        run.append(missed(1))
    create(tmp_path / "runs", record(id="sample", smoke_test=True))
    create(tmp_path / "runs", record(id="other", recipe_name="mnist/base"))
    return tmp_path / "runs"


def ids(found):
    return [one.origin.rpartition("_")[2] for one in found]


def test_what_is_kept_of_a_run(runs):
    run = read(next(runs.glob("*id00")))
    one = of_run(run, "airbench")
    assert one.seeds == (0, 1)
    assert one.values["time"] == tuple(total_seconds(each, "airbench") for each in run.trials)
    assert one.values["time-to-target"] == (seconds_to_target(run.trials[0], "airbench"), None)
    assert one.values["accuracy"] == (0.95, 0.9)
    assert set(one.values) == {"time", "time-to-target", "accuracy"}
    assert "peak-memory" in of_run(run, "airbench", ["peak-memory"]).values
    assert one.reached == 1
    assert dict(one.facts) == {
        "recipe": "0123456789ab",
        "data": "null",
        "target": "94%",
        "clock": "Paceline's laps",
        "machine": "NVIDIA H200",
        "world": "1",
        "protocol": "airbench",
        "smoke test": "no",
    }
    assert dict(one.notes) == {"commit": "a" * 12, "torch": "2.13.0"}


def test_two_trees_with_changes_of_one_commit_are_told_apart(tmp_path):
    found = []
    for number, code in enumerate(("1234567890", "abcdef1234")):
        environment = {"machine_class": "CPU", "code": code}
        run = create(tmp_path, record(id=f"id0{number}", dirty=True, environment=environment))
        found.append(of_run(read(run.path), "strict").notes["commit"])
    assert found == [f"{'f' * 12} with changes (1234567)", f"{'f' * 12} with changes (abcdef1)"]


def test_the_compiled_kernels_that_ran_are_a_fact_where_they_are_known(tmp_path):
    def kernels(*ran):
        run = create(tmp_path, record(id=f"id0{len(list(tmp_path.iterdir()))}"))
        for seed, names in enumerate(ran):
            run.append(trial(seed, kernels=names))
        one = of_run(read(run.path), "strict")
        assert one.facts.get("kernels") == one.notes.get("kernels")
        return one.facts.get("kernels")

    assert kernels(None, None) is None
    assert kernels((), ()) == "PyTorch's"
    assert kernels(("convolution_chain: amx",), None) == "convolution_chain: amx"
    assert kernels((), ("convolution_chain: amx",)) == "PyTorch's and convolution_chain: amx", "compiled in between"


def test_a_side_is_a_run_a_folder_a_glob_or_a_recipe(runs):
    assert ids(resolve(str(next(runs.glob("*id01"))), "strict")) == ["id01"]
    assert len(resolve(str(runs), "strict")) == 4
    assert ids(resolve(f"{runs}/*id0?", "strict")) == ["id00", "id01"]
    assert ids(resolve("cifar10/airnet", "strict", [runs])) == ["id00", "id01"]
    assert ids(resolve("cifar10/airnet@bbbb", "strict", [runs])) == ["id01"]


def test_a_commit_goes_by_any_name_that_git_has_for_it(runs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "x"], ["tag", "v1"]):
        subprocess.run([*git, *command], check=True)
    commit = subprocess.run(["git", "rev-parse", "v1"], check=True, capture_output=True, text=True).stdout.strip()
    create(runs, record(id="tagged", commit=commit))
    assert ids(resolve("cifar10/airnet@v1", "strict", [runs])) == ["tagged"]


def test_published_figures_are_a_side():
    assert {one.recipe for one in resolve("published", "strict")} == set(published())
    (one,) = resolve("published:cifar10/airbench94", "strict")
    assert one.facts["machine"] == published()["cifar10/airbench94"].hardware
    with pytest.raises(ValueError, match="no published figure of 'nothing'"):
        resolve("published:nothing", "strict")


@pytest.mark.parametrize("word", ["nothing", "cifar10/airnet@cccc", "nowhere/*"])
def test_a_side_without_runs_is_refused(runs, word):
    with pytest.raises(ValueError, match=f"{word.replace('*', '.')}: .*run"):
        resolve(word, "strict", [runs])


def test_an_unknown_protocol_is_refused_before_anything_is_read():
    with pytest.raises(ValueError, match="protocol='mine' is unknown"):
        resolve("nowhere", "mine")


def test_a_run_that_cannot_be_read_is_left_out_unless_it_is_named_itself(runs):
    broken = next(runs.glob("*id00"))
    (broken / "run.json").write_text("{")
    told = []
    assert ids(resolve(f"{runs}/*id0?", "strict", skip=told.append)) == ["id01"]
    assert ids(resolve("cifar10/airnet", "strict", [runs], skip=told.append)) == ["id01"]
    assert len(told) == 2
    assert all(line.startswith(str(broken / "run.json")) and line.endswith("left out") for line in told)
    with pytest.raises(ValueError, match="is damaged"):
        resolve(str(broken), "strict", skip=told.append)
    with pytest.raises(ValueError, match="is damaged"):
        resolve(str(runs), "strict")


@pytest.mark.parametrize(
    ("environment", "host", "found"),
    [
        ({"host_hash": "a"}, None, "a"),
        ({"host_hash": "a"}, {"hash": "b"}, "b"),
        ({"host_hash": "a", "ranks": [{"rank": 0}, {"rank": 1, "host_hash": "b"}]}, None, "a+b"),
        ({"host_hash": {"unknown": "no name"}}, None, None),
        ({}, None, None),
    ],
)
def test_a_trial_is_of_its_own_host_or_of_that_of_its_run(environment, host, found):
    run = Run(record(environment=environment), (trial(0, host=host),), Path("run"))
    assert of_run(run, "strict").hosts == (found,)


def test_a_protocol_may_be_named_as_it_once_was(runs):
    assert [one.values for one in resolve(str(runs), "record")] == [one.values for one in resolve(str(runs), "strict")]


def test_a_host_that_a_rank_does_not_know_is_no_host(tmp_path):
    def hosts(*ranks):
        environment = {"host_hash": "a", "ranks": [{"host_hash": one} for one in ranks]}
        run = create(tmp_path, record(id=f"id0{len(list(tmp_path.iterdir()))}", environment=environment))
        run.append(trial(0))
        return of_run(read(run.path), "strict").hosts

    assert hosts("b", "a") == ("a+b",)
    assert hosts("b", {"unknown": "no name"}) == (None,)


def test_data_without_hashes_are_told_apart_by_their_path(tmp_path):
    """A function's record has no hashes of what `run.dataset()` gave it."""

    def compared(one, other, **changes):
        facts = []
        for path in (one, other):
            recipe = {"data": {"name": "folder", "path": path, "resize": None}}
            run = create(tmp_path, record(id=f"id0{len(list(tmp_path.iterdir()))}", recipe=recipe, **changes))
            run.append(trial(0))
            facts.append([of_run(read(run.path), "strict")])
        return differences(*facts)

    assert compared("images/a", "images/a") == ""
    assert compared("images/a", "images/b").startswith("data: ")
    parts = ("train_images", "train_labels", "test_images", "test_labels")
    assert compared("images/a", "images/b", data=dict.fromkeys(parts, "0" * 64) | {"is_published": False}) == ""
