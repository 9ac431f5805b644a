"""Records of every schema version are read as records of today."""

import json
import shutil
from pathlib import Path

import pytest

from results import store
from results.environment import Environment

MEASURED = Path(store.__file__).parent / "measured"


def paths(version):
    found = sorted(MEASURED.rglob("run.json"))
    return [path for path in found if json.loads(path.read_text())["schema_version"] == version]


@pytest.mark.parametrize("version", [1, 2])
def test_every_committed_record_is_read_with_all_that_it_holds(version):
    assert paths(version)
    for path in paths(version):
        old, run = json.loads(path.read_text()), store.read(path)
        assert run.record.schema_version == store.SCHEMA_VERSION
        assert (run.record.smoke_test, run.record.interleaved) == (old["sample"], old.get("turns"))
        assert run.record.environment.model_dump(mode="json") == old["environment"]
        assert run.change == old["recipe"].get("trick")
        assert len(run.trials) == len((path.parent / "trials.jsonl").read_text().splitlines())
        assert run.warnings == ()


def test_options_of_old_recipes_have_their_new_names():
    engines = [store.read_record(path) for path in paths(2) if "engines" in path.parent.name]
    assert {record.recipe["parallel"]["strategy"] for record in engines} == {"ddp", "fsdp2", "deepspeed"}
    scaling = [store.read_record(path) for path in paths(2) if path.parents[1].name == "scaling"]
    assert {record.recipe["parallel"]["sync_gradients"] for record in scaling} == {True, False}


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("cifar10-ladder-40-airnet", "ladder"),
        ("cifar10-loaders-bulk", "loaders"),
        ("mnist-engines-ddp", "strategies"),
        ("mnist-init-small", "techniques"),
        ("mnist-large-batch-lars", "techniques"),
        ("mnist-full-fast", None),
        ("cifar10-davidnet-10", None),
    ],
)
def test_old_recipes_have_the_table_that_their_runs_ended_with(name, table):
    (path,) = MEASURED.glob(f"*_{name}_*/run.json")
    assert store.read(path).table == table


def test_an_old_run_is_read_and_not_resumed_and_its_files_stay_as_they_are(tmp_path):
    source = paths(2)[0].parent
    copy = tmp_path / source.name
    shutil.copytree(source, copy)
    run = store.read(copy)
    with pytest.raises(ValueError, match="can be read but not resumed"):
        store.resume(copy, run.record)
    assert (copy / "run.json").read_bytes() == (source / "run.json").read_bytes()


def test_a_run_of_version_1_has_no_pairing():
    assert all(store.read_record(path).interleaved is None for path in paths(1))


def test_what_was_captured_is_typed():
    environment = store.read_record(paths(2)[0]).environment
    assert isinstance(environment, Environment)
    assert environment.threads.intra_op >= 1
    assert environment.before.load_average
    assert environment.versions["torch"].startswith("2.")
