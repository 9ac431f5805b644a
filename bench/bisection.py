"""Find the commit that made a suite slower or less accurate: git bisect, driven by `bench/gate.py --against`.

Each commit that git bisect asks for is trained interleaved with GOOD, until a planned look decides or --trials are
trained; a commit that is still undecided, does not train or is not comparable is skipped. Both checkouts
are temporary worktrees: your checkout does not change, and its uncommitted changes are not tested.
"""

# Not called bisect.py, which would hide Python's own module of that name from all scripts of this folder.

import contextlib
import json
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

if __name__ == "__main__":  # this tree, whatever else is installed
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.command_line import cli, git, options
from bench.command_line.cli import ROOT
from bench.command_line.option_groups import PassedOn, Records
from bench.command_line.options import Argument, CommandLine, Count
from bench.training.launch import LaunchError, ending_with_us

PROG = "bench/bisection.py"
EXAMPLES = """\
examples:
  python bench/bisection.py v0.1.0 HEAD --suite nightly
  python bench/bisection.py HEAD~20 HEAD --suite nightly-gpu --fail-on time:2% --trials 20"""
GATE = (sys.executable, str(ROOT / "bench" / "gate.py"))
"""the command that judges, the same one for all commits"""
HASH = "[0-9a-f]{40,64}"
END = re.compile(
    rf"^(?:(?P<first>{HASH}) is the first '?bad'? commit|There are only 'skip'ped commits left to test\.)$",
    re.MULTILINE,
)
"""how git bisect ends its search, in a line of its own: titles of commits are in other lines"""

Verdict = Literal["good", "bad", "skip"]
"""as git bisect calls it"""


@dataclass(frozen=True, kw_only=True)
class BisectionOptions(PassedOn, Records):
    """The options of bench/bisection.py."""

    title = "what to search"

    good: Annotated[str, Argument(positional=True)]
    """a commit that was fast enough"""
    bad: Annotated[str, Argument(positional=True)]
    """a later one that is not"""
    suite: Annotated[str, Argument(metavar="NAME")] = "nightly"
    """what to train"""
    fail_on: Annotated[list[str], Argument(metavar="RULE")] = field(default_factory=list)
    """what counts as worse, as in bench/gate.py; may be repeated (default: time:3%)"""
    trials: Count = 64
    """trials of each side at most, of which a few planned looks may spare some; at least 8"""
    launcher: CommandLine | None = None
    """what starts bench/run.py, as in bench/gate.py"""
    repository: Annotated[Path, Argument(metavar="DIR")] = ROOT
    """the repository of the commits"""
    json: bool = False
    """print one JSON object on standard output: first_bad, candidates, steps"""


@dataclass(frozen=True)
class Step:
    """A commit that was judged."""

    commit: str
    verdict: Verdict
    trials: int
    """of each side, without the confirmation run; 0 where none was compared"""
    title: str

    def __str__(self) -> str:
        return f"{self.verdict}: {self.commit[:10]} {self.title} ({self.trials} trials a side)"


def parse(arguments: Sequence[str] | None = None) -> BisectionOptions:
    """The options. Exits with status 2 and one line for a command line that is wrong."""
    return options.parse(
        BisectionOptions, PROG, arguments, description=(__doc__ or "").rpartition("\n\n")[0], epilog=EXAMPLES
    )


@cli.command
def main(arguments: Sequence[str] | None = None) -> int:
    """Search, report. Returns 1 with the commit, 0 where BAD is not worse than GOOD, 2 where it cannot be said."""
    given = parse(arguments)
    good, bad = (commit_of(given.repository, name) for name in (given.good, given.bad))
    check_order(given, good, bad)
    with (
        cli.terminating(),
        worktree(given.repository, good) as accepted,
        worktree(given.repository, bad) as candidate,
    ):
        end = judge(given, accepted, candidate)
        show(end)
        if end.verdict != "bad":
            said = "is not worse than" if end.verdict == "good" else "was not shown to be worse than"
            report(given, [], [end], f"{given.bad} {said} {given.good}: {end}")
            return cli.OK if end.verdict == "good" else cli.NO_VERDICT
        candidates, steps = search(given, good, bad, accepted, candidate)
    found = "first bad commit:" if len(candidates) == 1 else "the first bad commit is one of"
    lines = [f"{commit[:10]} {title_of(given.repository, commit)}" for commit in candidates]
    report(given, candidates, [end, *steps], "\n  ".join([found, *lines]))
    return cli.WORSE if len(candidates) == 1 else cli.NO_VERDICT


def search(
    given: BisectionOptions, good: str, bad: str, accepted: Path, candidate: Path
) -> tuple[list[str], list[Step]]:
    """The first bad commit, or all that it may be where some were skipped; and the commits that were judged."""
    steps: list[Step] = []
    answer = git.output(candidate, "bisect", "start", bad, good)
    while not (end := END.search(answer)):
        steps.append(judge(given, accepted, candidate))
        show(steps[-1])
        answer = next_commit(candidate, steps[-1].verdict)
    return [end["first"]] if end["first"] else re.findall(rf"^{HASH}$", answer, re.MULTILINE), steps


def next_commit(candidate: Path, verdict: Verdict) -> str:
    """git's answer to a verdict on the commit that is checked out. ValueError where the search cannot go on, as where
    git cannot check out the next commit."""
    ended = git.run(candidate, "bisect", verdict)
    if ended.returncode and not END.search(ended.stdout):  # git also fails where the commits that are left were skipped
        raise git.failure(candidate, ended)
    return ended.stdout


def judge(given: BisectionOptions, accepted: Path, candidate: Path) -> Step:
    """The checkout of a commit, judged with as many trials as it takes."""
    commit = git.output(candidate, "rev-parse", "HEAD").strip()
    status, verdicts = run_gate(given, accepted, candidate)
    verdict: Verdict = "good" if status == cli.OK else "bad" if status == cli.WORSE else "skip"
    trials = max((one["trials"] or 0 for one in verdicts), default=0)
    return Step(commit, verdict, trials, title_of(candidate, commit))


def run_gate(given: BisectionOptions, accepted: Path, candidate: Path) -> tuple[int, list[dict[str, Any]]]:
    """The gate's exit status and verdicts. KeyboardInterrupt where it was interrupted, LaunchError where it was
    killed."""
    rules = [word for rule in given.fail_on for word in ("--fail-on", rule)]
    launcher = ["--launcher", given.launcher] if given.launcher else []
    command = [
        *GATE,
        *("--against", str(accepted), "--checkout", str(candidate), "--suite", given.suite),
        *("--trials", str(given.trials), "--until-decided", "--json", *rules, *launcher),
        *(word for group in (PassedOn, Records) for word in options.to_arguments(given, group)),
    ]
    print(f"+ {shlex.join(command)}", file=sys.stderr, flush=True)
    status, printed = wait_for(ending_with_us(command))
    if status < 0:
        raise LaunchError(f"{shlex.join(command)} was ended by signal {-status}")
    if status not in (cli.OK, cli.WORSE, cli.NO_VERDICT, cli.INTERNAL):
        raise KeyboardInterrupt
    return status, [json.loads(line) for line in printed.splitlines()]


def wait_for(command: Sequence[str]) -> tuple[int, str]:
    """The exit status of a command, and what it prints. An interruption is passed on: the command has trainings to end,
    which run in worktrees that are about to go."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603  no shell
        try:
            printed, _ = process.communicate()
        except BaseException:
            process.terminate()
            process.wait()
            raise
    return process.returncode, printed


@contextlib.contextmanager
def worktree(repository: Path, commit: str) -> Iterator[Path]:
    """A temporary checkout of a commit."""
    with tempfile.TemporaryDirectory(prefix="paceline-bisect-") as folder:
        path = Path(folder) / commit[:10]
        git.output(repository, "worktree", "add", "--detach", str(path), commit)
        try:
            yield path
        finally:
            git.output(repository, "worktree", "remove", "--force", str(path))


def check_order(given: BisectionOptions, good: str, bad: str) -> None:
    """ValueError unless GOOD is an ancestor of BAD."""
    if good == bad or git.run(given.repository, "merge-base", good, bad).stdout.strip() != good:
        raise ValueError(f"{given.good} is not an ancestor of {given.bad}: give an earlier commit, then a later one")


def commit_of(repository: Path, name: str) -> str:
    """The hash of a commit. ValueError where there is none of that name."""
    git.output(repository, "rev-parse", "--git-dir")
    commit = git.run(repository, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}").stdout.strip()
    if not commit:
        raise ValueError(f"{repository}: there is no commit {name}")
    return commit


def title_of(repository: Path, commit: str) -> str:
    """The first line of a commit's message."""
    return git.output(repository, "log", "-1", "--format=%s", commit).strip()


def show(step: Step) -> None:
    """Print a step on standard error, because standard output is for the result."""
    print(step, file=sys.stderr, flush=True)


def report(given: BisectionOptions, candidates: Sequence[str], steps: Sequence[Step], text: str) -> None:
    """Print the result."""
    if given.json:
        first = candidates[0] if len(candidates) == 1 else None
        found = {"first_bad": first, "candidates": list(candidates), "steps": [asdict(step) for step in steps]}
        cli.print_json(found)
    else:
        print(text)


if __name__ == "__main__":
    sys.exit(main())
