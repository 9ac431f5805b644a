"""Where runs lie: no name leads out of the root, and what is asked for is found."""

import re
import shutil
import uuid

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from results import samples
from results.store import create, find, read, with_scalings
from tests.results.builders import record, trial


@pytest.mark.parametrize("name", ["../x", "a/../../x", "..", "/etc/x", "a\\..\\x", "a//b", "a/"])
def test_a_recipe_name_that_leads_away_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match="cannot name a run directory"):
        create(tmp_path, record(recipe_name=name))
    assert list(tmp_path.iterdir()) == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(name=st.text(min_size=1, max_size=300), run_id=st.from_regex(r"[a-f0-9]{32}", fullmatch=True))
def test_no_name_leaves_the_root(tmp_path, name, run_id):
    root = tmp_path / uuid.uuid4().hex
    if {"", ".."} & set(re.split(r"[/\\]", name)):
        with pytest.raises(ValueError, match="cannot name a run directory"):
            create(root, record(recipe_name=name, id=run_id))
        return
    run = create(root, record(recipe_name=name, id=run_id))
    assert run.path.resolve().parent == root.resolve()
    assert re.fullmatch(r"[A-Za-z0-9._+-]+", run.path.name)
    assert read(run.path).record.recipe_name == run.record.recipe_name


def test_a_run_is_never_written_into_another(tmp_path):
    create(tmp_path, record())
    with pytest.raises(FileExistsError):
        create(tmp_path, record())


def test_find_takes_runs_folders_and_globs_once_each_and_the_oldest_first(tmp_path):
    late = create(tmp_path / "b [1]", record(id="late", created=record().created.replace(year=2027)))
    early = create(tmp_path / "c", record(id="early"))
    (tmp_path / "c" / "notes").mkdir()
    places = [tmp_path / "b [1]", tmp_path / "c", late.path, early.path / "run.json", f"{tmp_path}/c/*airnet*"]
    assert [run.record.id for run in find(places)] == ["early", "late"]
    assert [run.record.id for run in find([f"{tmp_path}/*"])] == ["early", "late"]


@pytest.mark.parametrize("copy", ["a", "z"])
def test_a_copy_of_a_run_is_no_other_run_and_the_one_with_more_trials_counts(tmp_path, copy):
    run = create(tmp_path, record())
    run.append(trial(0))
    shutil.copytree(run.path, tmp_path / copy)
    run.append(trial(1))
    shutil.copytree(run.path, tmp_path / "backup" / run.path.name)
    other = create(tmp_path, record(id="other"))
    for one in (run, other):
        one.finish("interrupted")
    found = find([tmp_path, tmp_path / "backup"])
    assert [(one.record.id, len(one.trials)) for one in found] == [("abcd1234", 2), ("other", 0)]
    assert [len(one.seeds) for one in samples.resolve(f"{tmp_path}/*", "strict")] == [2, 0]


@pytest.mark.parametrize("has_others", [True, False])
def test_folders_of_a_scaling_are_places_where_they_have_runs(tmp_path, has_others):
    create(tmp_path / "scaling_a", record(id="scaled"))
    (tmp_path / "scaling_b").mkdir()
    (tmp_path / "scaling.png").touch()
    if has_others:
        create(tmp_path, record(id="other"))
    assert {run.record.id for run in find(with_scalings([tmp_path]))} == {"scaled", *["other"] * has_others}


def test_a_folder_without_a_run_stays_an_error(tmp_path):
    (tmp_path / "scaling_b").mkdir()
    with pytest.raises(ValueError, match=f"{tmp_path}: no run there"):
        find(with_scalings([tmp_path]))


@pytest.mark.parametrize("place", ["nowhere", "nowhere/*", ""])
def test_find_refuses_a_place_without_runs(tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="no run there"):
        find([place])


@pytest.mark.parametrize("name", ["run.json", "trials.jsonl"])
def test_a_run_that_the_system_does_not_let_us_read_is_left_out_and_told_of(tmp_path, name):
    runs = [create(tmp_path, record(id=name)) for name in ("good", "lost")]
    for run in runs:
        run.finish("interrupted")
    lost = runs[1].path / name
    lost.unlink()
    lost.mkdir()  # which no user may read, not even root
    told = []
    assert [run.record.id for run in find([tmp_path], skip=told.append)] == ["good"]
    assert told == [f"{lost}: cannot be read: Is a directory: the run is left out"]
    with pytest.raises(ValueError, match="cannot be read"):
        find([runs[1].path])
