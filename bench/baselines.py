"""The accepted runs that the gate compares with: `bench/gate.py BASELINE --accept RUN…` replaces some of them.

A baseline is a folder of runs in a git repository, its own or that of the code, so that every change is a commit.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

from bench.command_line import git
from results import store
from results.record import Run


def accept(baseline: Path, places: Sequence[Path]) -> str:
    """Let the runs at `places` be the baseline of their recipes on their machines, and commit that.

    The runs that the baseline has of these recipes on these machines go. Give those that shall stay as well, from the
    baseline or from where they were copied from. Returns the commit's message. ValueError where the baseline is in no
    git repository, for runs that would go and are in no commit, for what git refuses, and for runs that cannot be
    accepted.
    """
    runs = store.find(places)
    check(runs)
    if not baseline.is_dir():
        raise ValueError(f"{baseline}: there is no such folder; make it in a git repository")
    git.output(baseline, "rev-parse", "--git-dir")
    git.output(baseline, "var", "GIT_COMMITTER_IDENT")  # without it, git would refuse the commit after the changes
    kinds = {_kind(run) for run in runs}
    kept = {run.path.name for run in runs}
    replaced = [run for run in store.runs_in(baseline) if _kind(run) in kinds and run.path.name not in kept]
    _check_committed(baseline, replaced)
    for run in runs:
        if run.path.resolve() != (baseline / run.path.name).resolve():
            shutil.copytree(run.path, baseline / run.path.name, dirs_exist_ok=True)  # accepted before, or cut short
    for run in replaced:
        shutil.rmtree(run.path)
    message = _message(runs, len(replaced))
    git.output(baseline, "add", "--all", "--", ".")
    git.output(baseline, "commit", "--quiet", "--message", message, "--", ".")
    return message


def check(runs: Sequence[Run]) -> None:
    """ValueError for a run that nothing may be compared with."""
    for run in runs:
        if run.record.smoke_test:
            raise ValueError(f"{run.path} is a smoke test, whose numbers mean nothing: accept another run")
        if run.record.status != "finished" or run.missing_seeds:
            raise ValueError(f"{run.path} is not finished: continue it with --resume, or accept another run")


def _check_committed(baseline: Path, runs: Sequence[Run]) -> None:
    """ValueError for a run that would be lost with its folder."""
    files = [str(path.resolve()) for run in runs for path in (run.path / store.RECORD, run.path / store.TRIALS)]
    if files and git.output(baseline, "status", "--porcelain", "--ignored", "--", *files):
        raise ValueError(
            f"{baseline}: runs that would be replaced are in no commit: commit them first (git add, commit)"
        )


def _kind(run: Run) -> tuple[str, str, int]:
    return run.record.recipe_name, run.machine, run.record.world_size


def _message(runs: Sequence[Run], replaced: int) -> str:
    lines = [f"{run.record.recipe_name}: {run.path.name} on {run.machine}, {len(run.trials)} trials" for run in runs]
    instead = f", instead of {replaced}" if replaced else ""
    return "\n".join([f"Accept {len(runs)} runs as the baseline{instead}", "", *lines])
