"""A run of uncommitted code keeps the code: the record's commit and its patch are what was timed."""

import shutil
import subprocess

import pytest

from bench.training import records
from pipelines.host import environment, uncommitted
from tests.bench.conftest import ONE_THREAD, ROOT, SMALL, launch, only_run, wait
from tests.bench.conftest import environment as variables

PATCH = "source/uncommitted.diff"


def git(folder, *arguments):
    command = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
    subprocess.run(command, check=True, capture_output=True)


def test_a_clean_checkout_with_the_patch_has_the_recorded_digest(tmp_path):
    tree, clean = tmp_path / "tree", tmp_path / "clean"
    ignored = shutil.ignore_patterns("__pycache__", "measured")
    for folder in (*environment.CODE, "configs"):
        shutil.copytree(ROOT / folder, tree / folder, ignore=ignored)
    git(tmp_path, "init", "-q", str(tree))
    git(tree, "add", ".")
    git(tree, "commit", "-q", "-m", "as it is here")
    with (tree / "kernels" / "whiten.py").open("a", encoding="utf-8") as kernel:
        kernel.write("\nEDITED = True\n")
    words = (tree / "bench" / "run.py", "digits/short", *SMALL, *ONE_THREAD, "--trials", "1")
    ended = wait(launch(*words, cwd=tmp_path, variables=variables(PYTHONPATH=str(tree))))
    assert ended.status == 0, ended
    run = only_run(tmp_path / "runs")
    assert run.record.dirty
    git(tmp_path, "clone", "-q", "--no-checkout", str(tree), str(clean))
    git(clean, "checkout", "-q", "--detach", run.record.commit)
    assert environment.code_digest(clean) != run.record.environment.code
    git(clean, "apply", str(run.path / PATCH))
    assert environment.code_digest(clean) == run.record.environment.code


@pytest.fixture
def state(monkeypatch):
    """Sets what git says of this tree: whether it is dirty, and the patch."""

    def state(dirty, patch):
        monkeypatch.setattr(environment, "git_state", lambda folder: ("f" * 40, dirty))
        monkeypatch.setattr(uncommitted, "diff", lambda folder: patch)

    return state


@pytest.mark.parametrize(("dirty", "patch"), [(False, "changes"), (None, "changes"), (True, "")])
def test_a_run_of_committed_code_keeps_nothing(main, state, dirty, patch):
    """Nor one whose commit is not known, or of a tree where only other files changed."""
    state(dirty, patch)
    assert main("digits/quick", *SMALL, "--trials", "1").status == 0
    assert not (only_run("runs").path / "source").exists()


@pytest.mark.parametrize(
    ("patch", "line"),
    [
        ("é" * 3, "warning: the uncommitted changes are 6 bytes, more than 5"),
        (None, "warning: git cannot show the uncommitted changes"),
    ],
)
def test_a_line_says_that_the_changes_are_left_out(main, state, monkeypatch, patch, line):
    monkeypatch.setattr(records.files, "MOST_KEPT", 5)
    state(True, patch)
    ended = main("digits/quick", *SMALL, "--trials", "1")
    assert ended.status == 0
    assert f"{line}: {PATCH} is left out" in ended.out
    assert not (only_run("runs").path / "source").exists()


def test_changes_up_to_the_limit_are_kept(main, state, monkeypatch):
    monkeypatch.setattr(records.files, "MOST_KEPT", 6)
    state(True, "é" * 3)
    main("digits/quick", *SMALL, "--trials", "1")
    assert (only_run("runs").path / PATCH).read_text(encoding="utf-8") == "é" * 3
