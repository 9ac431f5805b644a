"""bench/gate.py --accept: the baseline changes by a commit."""

import json
import subprocess

import pytest

from bench import gate
from results import store
from tests.bench.test_compare import STEADY, keep


def git(folder, *words):
    return subprocess.run(["git", "-C", str(folder), *words], check=True, capture_output=True, text=True).stdout


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A baseline of two recipes, committed."""
    for name, value in {"NAME": "a", "EMAIL": "a@example.org"}.items():
        monkeypatch.setenv(f"GIT_AUTHOR_{name}", value)
        monkeypatch.setenv(f"GIT_COMMITTER_{name}", value)
    folder = tmp_path / "repository" / "baseline"
    folder.mkdir(parents=True)
    git(folder.parent, "init", "--quiet")
    for name in ("cifar10/airnet", "mnist/base"):
        for _ in range(2):
            night(folder, 1.0, name)
    (folder.parent / "other.txt").write_text("before")
    git(folder.parent, "add", ".")
    git(folder.parent, "commit", "--quiet", "-m", "before")
    return folder


def night(root, factor, name="cifar10/airnet", status="finished", **changes):
    path = keep(root, factor, STEADY, name, **changes)
    loaded = json.loads((path / "run.json").read_text())
    (path / "run.json").write_text(json.dumps(loaded | {"status": status}))
    return path


def names(folder):
    return sorted(run.record.recipe_name for run in store.find([folder]))


def test_accepted_runs_take_the_place_of_those_of_their_recipe(repository, tmp_path, capsys):
    new = [night(tmp_path / "new", factor, id=f"night{number}") for number, factor in enumerate((1.1, 1.2))]
    (repository.parent / "other.txt").write_text("being edited")
    assert gate.main([str(repository), "--accept", *map(str, new)]) == 0
    assert capsys.readouterr().out.startswith("Accept 2 runs as the baseline, instead of 2\n")
    assert names(repository) == ["cifar10/airnet"] * 2 + ["mnist/base"] * 2
    assert {path.name for path in new} < {path.name for path in repository.iterdir()}
    assert git(repository, "status", "--porcelain").split() == ["M", "other.txt"], "nothing else is committed"
    assert git(repository, "log", "-1", "--format=%s").strip() == "Accept 2 runs as the baseline, instead of 2"
    assert f"cifar10/airnet: {new[0].name} on " in git(repository, "log", "-1", "--format=%b")


def test_a_hook_of_another_repository_changes_the_baseline_alone(repository, tmp_path, monkeypatch):
    """git tells its hooks by variables which repository calls them."""
    other = tmp_path / "other"
    git(tmp_path, "init", "--quiet", str(other))
    (other / "code.py").write_text("")
    git(other, "add", ".")
    git(other, "commit", "--quiet", "-m", "code")
    before = git(other, "rev-parse", "HEAD")
    with monkeypatch.context() as hook:
        hook.setenv("GIT_DIR", str(other / ".git"))
        hook.setenv("GIT_INDEX_FILE", str(other / ".git" / "index"))
        assert gate.main([str(repository), "--accept", str(night(tmp_path / "new", 1.1))]) == 0
    assert git(other, "rev-parse", "HEAD") == before
    assert git(repository, "log", "-1", "--format=%s").startswith("Accept 1 runs")


def test_runs_of_the_baseline_that_are_given_stay(repository, tmp_path):
    old = next(run.path for run in store.find([repository]) if run.record.recipe_name == "mnist/base")
    new = night(tmp_path / "new", 1.0, "mnist/base", id="newone")
    assert gate.main([str(repository), "--accept", str(old), str(new)]) == 0
    kept = {run.path.name for run in store.find([repository]) if run.record.recipe_name == "mnist/base"}
    assert kept == {old.name, new.name}


def test_runs_that_were_accepted_before_may_be_named_again_where_they_were_recorded(repository, tmp_path):
    first = night(tmp_path / "runs", 1.0, id="first")
    assert gate.main([str(repository), "--accept", str(first)]) == 0
    second = night(tmp_path / "runs", 1.1, id="second")
    assert gate.main([str(repository), "--accept", str(first), str(second)]) == 0
    kept = {run.path.name for run in store.find([repository]) if run.record.recipe_name == "cifar10/airnet"}
    assert kept == {first.name, second.name}


@pytest.mark.parametrize("ignored", [False, True])
def test_a_run_that_is_in_no_commit_is_not_replaced(repository, tmp_path, capsys, ignored):
    loose = night(repository, 1.0, id="loose")
    (repository.parent / ".gitignore").write_text(loose.name if ignored else "")
    assert gate.main([str(repository), "--accept", str(night(tmp_path / "new", 1.0, id="newone"))]) == 2
    assert "are in no commit: commit them first" in capsys.readouterr().err
    assert len(names(repository)) == 5


def test_a_commit_without_an_author_is_refused_before_anything_changes(repository, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("GIT_COMMITTER_NAME", "")
    assert gate.main([str(repository), "--accept", str(night(tmp_path / "new", 1.0, id="newone"))]) == 2
    assert "empty ident name" in capsys.readouterr().err
    assert git(repository, "status", "--porcelain") == ""


def test_the_baseline_of_another_world_size_stays(repository, tmp_path):
    new = night(tmp_path / "new", 1.0, id="newone", world_size=2)
    assert gate.main([str(repository), "--accept", str(new)]) == 0
    assert names(repository) == ["cifar10/airnet"] * 3 + ["mnist/base"] * 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"smoke_test": True}, "is a smoke test"), ({"status": "interrupted"}, "is not finished: continue it with")],
)
def test_what_cannot_be_a_baseline_is_refused(repository, tmp_path, capsys, changes, message):
    assert gate.main([str(repository), "--accept", str(night(tmp_path / "new", 1.0, **changes))]) == 2
    assert message in capsys.readouterr().err
    assert git(repository, "status", "--porcelain") == ""


def test_a_baseline_outside_of_git_is_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    folder = tmp_path / "baseline"
    night(folder, 1.0)
    assert gate.main([str(folder), "--accept", str(night(tmp_path / "new", 1.0))]) == 2
    error = capsys.readouterr().err
    assert "git rev-parse: fatal: not a git repository" in error
    assert error.count("\n") == 1
