"""The patch of the uncommitted changes gives back the code that was timed, whatever changed and wherever it lies."""

import subprocess
from pathlib import Path

import pytest

from pipelines.host import environment, uncommitted

FILES = {
    "kernels/whiten.py": b"def whiten():\n    return 1\n",
    "kernels/cpu/gone.cpp": b"int gone;\n",
    "kernels/cpu/latin.h": b"// caf\xe9\r\nint x;\r\n",
    "results/peaks.yaml": b"cpu: 1\n",
    "results/measured/a_run/run.json": b"{}\n",
    "docs/page.md": b"text\n",
}


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def write(folder: Path, name: str, content: bytes) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)


@pytest.fixture(params=["", "vendored/paceline"])
def project(request, tmp_path, monkeypatch):
    """The folder of a project with one commit: a repository, or a part of one."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    folder = tmp_path / "repository" / request.param
    for name, content in FILES.items():
        write(folder, name, content)
    write(tmp_path / "repository", "secret.py", b"1\n")
    git(tmp_path, "init", "-q", "repository")
    git(folder, "add", str(tmp_path / "repository"))
    git(folder, "commit", "-q", "-m", "first")
    return folder


def change(folder: Path) -> None:
    """Everything that can happen to code between two commits."""
    write(folder, "kernels/whiten.py", b"def whiten():\n    return 2\n")
    write(folder, "kernels/cpu/latin.h", b"// caf\xe9\r\nint xy;\r\n")
    write(folder, "results/peaks.yaml", b"cpu: 2\n")
    (folder / "kernels/cpu/gone.cpp").unlink()
    write(folder, "bench/new.py", b"print('new')\n")
    write(folder, "bench/empty/__init__.py", b"")
    write(folder, "pipelines/staged name.py", b"staged = 1\n")
    git(folder, "add", "pipelines/staged name.py")
    write(folder, ".gitignore", b"ignored.py\n")
    write(folder, "kernels/ignored.py", b"ignored = 1\n")


def test_a_clean_checkout_and_the_patch_are_the_code_that_was_timed(project, tmp_path):
    clean = tmp_path / "clean"
    git(tmp_path, "clone", "-q", git(project, "rev-parse", "--show-toplevel"), str(clean))
    inside = project.relative_to(tmp_path / "repository")
    change(project)
    assert environment.code_digest(clean / inside) != environment.code_digest(project)
    patch = tmp_path / "uncommitted.diff"
    patch.write_bytes(uncommitted.diff(project).encode(errors="surrogateescape"))
    git(clean, "apply", *([f"--directory={inside}"] if inside.parts else []), str(patch))
    clean = clean / inside
    assert environment.code_digest(clean) == environment.code_digest(project)
    assert (clean / "results/peaks.yaml").read_bytes() == b"cpu: 2\n"
    assert (clean / "kernels/cpu/latin.h").read_bytes() == (project / "kernels/cpu/latin.h").read_bytes()


def test_it_leaves_out_what_is_no_code_of_the_project(project):
    for name in ("docs/page.md", "results/measured/a_run/run.json"):
        write(project, name, b"changed\n")
    write(project, "results/measured/b_run/source/mine.py", b"mine = 1\n")
    write(project, "kernels/notes.txt", b"not source\n")
    assert uncommitted.diff(project) == ""


def test_the_repository_stays_as_it_is(project):
    """What is staged stays staged, and nothing else is."""
    change(project)
    before = git(project, "status", "--porcelain", "--untracked-files=all")
    assert "bench/new.py" in uncommitted.diff(project)
    assert git(project, "status", "--porcelain", "--untracked-files=all") == before


def test_the_users_way_to_show_a_diff_does_not_matter(project):
    write(project, "kernels/whiten.py", b"pass\n")
    write(project, "bench/new.py", b"new = 1\n")
    plain = uncommitted.diff(project)
    for key, value in (("diff.noprefix", "true"), ("color.ui", "always"), ("diff.external", "false")):
        git(project, "config", key, value)
    assert uncommitted.diff(project) == plain
    assert plain.startswith("diff --git a/kernels/whiten.py b/kernels/whiten.py\n")


def test_without_git_there_is_none(project, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert uncommitted.diff(project) is None
