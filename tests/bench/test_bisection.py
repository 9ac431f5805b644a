"""bench/bisection.py on a planted history of ten commits, with a gate that reads how slow a commit is from a file."""

import json
import signal
import subprocess
import sys

import pytest

from bench import bisection

GATE = """
import json, os, pathlib, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
arguments = [word for word in sys.argv[1:] if word not in ("--json", "--until-decided")]
words = dict(zip(arguments[::2], arguments[1::2]))
accepted, new = (pathlib.Path(words[side], "slow.txt").read_text() for side in ("--against", "--checkout"))
with open(pathlib.Path(__file__).with_name("calls"), "a") as calls:
    print(new.strip(), words["--trials"], words.get("--protocol", ""), words.get("--out", ""), file=calls)
if "broken" in new:
    sys.exit(2)
if "edited" in new:
    print(json.dumps({"decision": "undecided", "trials": None}))
    sys.exit(2)
if "writes" in new:
    pathlib.Path(words["--checkout"], "number.txt").write_text("changed")
if "signal" in new:
    try:
        os.kill(os.getppid(), signal.SIGTERM)
        time.sleep(60)
    finally:
        print("ended", pathlib.Path(words["--checkout"]).exists(), file=open(calls.name, "a"))
if "killed" in new:
    os.kill(os.getpid(), signal.SIGKILL)
trials = int(words["--trials"])
decision = "undecided" if trials < NEEDED else "worse" if float(new.split()[0]) > float(accepted) else "passed"
print(json.dumps({"decision": decision, "trials": min(trials, NEEDED)}))
sys.exit({"undecided": 2, "worse": 1, "passed": 0}[decision])
"""


def git(folder, *words):
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    command = ["git", "-C", str(folder), *identity, *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def history(tmp_path, monkeypatch):
    """Makes a repository of commits as slow as it is told, and a gate that needs so many trials to decide."""

    def make(speeds, needed=8, title="commit {}"):
        repository = tmp_path / "repository"
        repository.mkdir()
        git(repository, "init", "--quiet")
        for number, speed in enumerate(speeds):
            (repository / "slow.txt").write_text(f"{speed}\n")
            (repository / "number.txt").write_text(f"{number}\n")
            git(repository, "add", ".")
            git(repository, "commit", "--quiet", "-m", title.format(number))
        (tmp_path / "gate.py").write_text(GATE.replace("NEEDED", str(needed)))
        monkeypatch.setattr(bisection, "GATE", (sys.executable, str(tmp_path / "gate.py")))
        return repository

    return make


def search(repository, *words):
    last = int((repository / "number.txt").read_text())
    return bisection.main([f"HEAD~{last}", "HEAD", "--repository", str(repository), *words])


def calls(tmp_path):
    return [line.split() for line in (tmp_path / "calls").read_text().splitlines()]


@pytest.mark.parametrize("first_bad", [1, 5, 9])
def test_the_first_slow_commit_of_ten_is_found(history, tmp_path, capsys, first_bad):
    repository = history([1.0] * first_bad + [1.1] * (10 - first_bad))
    assert search(repository) == 1
    assert capsys.readouterr().out.endswith(f" commit {first_bad}\n")
    assert len(calls(tmp_path)) <= 5
    assert git(repository, "worktree", "list").count("\n") == 0, "the worktrees are gone"
    assert git(repository, "status", "--porcelain") == ""


def test_the_gate_counts_time_and_records_as_the_search_is_told(history, tmp_path):
    repository = history([1.0, 1.1])
    assert search(repository, "--protocol", "airbench", "--out", "elsewhere") == 1
    assert {tuple(call[2:]) for call in calls(tmp_path)} == {("airbench", "elsewhere")}


def test_every_commit_is_trained_until_decided_and_the_trials_that_it_took_are_said(history, tmp_path, capsys):
    assert search(history([1.0] * 5 + [1.1] * 5, needed=20), "--trials", "30", "--json") == 1
    assert {trials for _, trials in calls(tmp_path)} == {"30"}
    said = capsys.readouterr()
    assert {step["trials"] for step in json.loads(said.out)["steps"]} == {20}
    assert all("--until-decided" in line for line in said.err.splitlines() if line.startswith("+ "))


def test_a_commit_that_cannot_be_trained_is_skipped(history, tmp_path, capsys):
    speeds = [1.0] * 4 + ["broken"] + [1.0] + [1.1] * 4
    assert search(history(speeds)) == 1
    assert capsys.readouterr().out.endswith(" commit 6\n")
    assert len([call for call in calls(tmp_path) if call[0] == "broken"]) <= 1


def test_a_commit_that_is_not_comparable_is_skipped(history, tmp_path, capsys):
    speeds = [1.0] * 4 + ["edited"] + [1.0] + [1.1] * 4
    assert search(history(speeds)) == 1
    assert capsys.readouterr().out.endswith(" commit 6\n")
    assert len([call for call in calls(tmp_path) if call[0] == "edited"]) <= 1


@pytest.mark.parametrize(
    "title", ["Print the first bad commit {}", "There are only 'skip'ped commits left to test. {}"]
)
def test_the_title_of_a_commit_does_not_end_the_search(history, capsys, title):
    assert search(history([1.0] * 7 + [1.1] * 3, title=title)) == 1
    assert capsys.readouterr().out.endswith(f" {title.format(7)}\n")


def test_a_commit_that_git_cannot_check_out_ends_the_search(history, tmp_path, capsys):
    """Its training wrote over a tracked file."""
    repository = history([1.0] * 4 + ["1.0 writes"] * 2 + [1.1] * 4)
    assert search(repository) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "bench/bisection.py: error: " in error
    assert "git bisect: error: Your local changes to the following files would be overwritten" in error
    assert len(calls(tmp_path)) < 5
    assert git(repository, "worktree", "list").count("\n") == 0


def test_sigterm_leaves_no_worktree_once_the_gate_has_ended(history, tmp_path):
    repository = history([1.0] * 9 + ["1.1 signal"])
    assert search(repository) == 128 + signal.SIGTERM
    assert git(repository, "worktree", "list").count("\n") == 0
    assert calls(tmp_path)[-1] == ["ended", "True"]


def test_a_gate_that_is_killed_is_no_interruption(history, capsys):
    assert search(history([1.0] * 9 + ["killed"])) == 2
    assert "was ended by signal 9" in capsys.readouterr().err


def test_where_the_commit_was_skipped_all_that_it_may_be_are_named(history, capsys):
    assert search(history([1.0] * 5 + ["broken"] * 2 + [1.1] * 3), "--json") == 2
    found = json.loads(capsys.readouterr().out)
    assert found["first_bad"] is None
    assert len(found["candidates"]) == 3
    assert {step["verdict"] for step in found["steps"]} == {"good", "bad", "skip"}


@pytest.mark.parametrize(("needed", "status"), [(8, 0), (1000, 2)])
def test_an_end_that_is_not_worse_ends_the_search(history, tmp_path, capsys, needed, status):
    assert search(history([1.0] * 10, needed)) == status
    said = {0: "is not worse than", 2: "was not shown to be worse than"}
    assert f"HEAD {said[status]} HEAD~9" in capsys.readouterr().out
    assert len(calls(tmp_path)) == 1


def test_wrong_commits_are_one_line(history, capsys):
    repository = history([1.0, 1.1])
    for good, bad, message in (
        ("HEAD", "HEAD~1", "HEAD is not an ancestor of HEAD~1"),
        ("HEAD", "HEAD", "HEAD is not an ancestor of HEAD"),
        ("nosuch", "HEAD", "there is no commit nosuch"),
    ):
        assert bisection.main([good, bad, "--repository", str(repository)]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1


def test_a_folder_that_is_no_repository_is_one_line(tmp_path, capsys):
    assert bisection.main(["HEAD~1", "HEAD", "--repository", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"bench/bisection.py: error: {tmp_path}: git rev-parse: fatal: not a git repository")
    assert error.count("\n") == 1


def test_the_gate_gets_the_options_that_concern_it(history, tmp_path, capfd):
    words = ("--device", "cpu", "--threads", "1", "--fail-on", "time:2%", "--suite", "nightly")
    assert search(history([1.0] * 2 + [1.1]), *words) == 1
    line = capfd.readouterr().err.splitlines()[0]
    for word in (
        "--device cpu",
        "--threads 1",
        "--fail-on time:2%",
        "--suite nightly",
        "--trials 64",
        "--until-decided",
        "--json",
    ):
        assert word in line
