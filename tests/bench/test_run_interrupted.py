"""bench/run.py: signals and crashes keep finished trials, and --resume finishes the run."""

import errno
import signal
from pathlib import Path

import pytest

from bench.training import run_trials, trainers
from pipelines.host.environment import git_state, uncommitted_code
from results import store
from tests.bench.conftest import (
    ONE_THREAD,
    ROOT,
    RUN,
    SMALL,
    TRAPPED,
    command,
    environment,
    error_of,
    launch,
    only_run,
    settled,
    train,
    wait,
    wait_for_a_trial,
)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, one_thread):
    """The run that the killed ones should have been."""
    return train(*SMALL, "--trials", "3", "--out", str(tmp_path_factory.mktemp("undisturbed")))


@pytest.fixture
def killed(tmp_path):
    """What is left of a run of three trials that got a signal in its second, which hangs; the run as it was kept."""

    def call(number):
        variables = environment(TRAP="hang", TRAP_RANK="0", TRAP_SEED="1")
        process = launch(TRAPPED, *SMALL, *ONE_THREAD, cwd=tmp_path, variables=variables)
        try:
            wait_for_a_trial(tmp_path, process)
            process.send_signal(number)
            ended = wait(process)
        finally:
            process.kill()
        return ended, only_run(tmp_path / "runs")

    return call


def test_a_signal_in_the_middle_keeps_finished_trials(killed, main, undisturbed):
    """Other signals are raised in this process, in test_run_interleaved.py."""
    ended, broken_off = killed(signal.SIGTERM)
    assert (ended.status, ended.err) == (143, "")
    assert "interrupted; finished trials are kept" in ended.out
    assert (broken_off.record.status, broken_off.record.reason) == ("interrupted", "SIGTERM")
    assert [trial.seed for trial in broken_off.trials] == [0]
    assert broken_off.record.environment.after is not None
    check_resumed(main, broken_off, undisturbed)


def test_a_kill_keeps_finished_trials(killed, main, undisturbed):
    ended, broken_off = killed(signal.SIGKILL)
    assert (ended.status, ended.err) == (-signal.SIGKILL, "")
    assert (broken_off.record.status, broken_off.record.reason) == ("interrupted", store.GONE)
    assert [trial.seed for trial in broken_off.trials] == [0]
    check_resumed(main, broken_off, undisturbed)


def check_resumed(main, broken_off, undisturbed):
    """All seeds, and the numbers of a run that nothing disturbed."""
    assert main("--resume", broken_off.path, "--quiet").status == 0
    resumed = store.read(broken_off.path)
    assert (resumed.record.status, resumed.record.reason, resumed.missing_seeds) == ("finished", None, [])
    assert resumed.trials[: len(broken_off.trials)] == broken_off.trials
    assert settled(resumed) == settled(undisturbed)


def test_after_ctrl_c_it_is_said_which_run_to_resume(main, monkeypatch):
    monkeypatch.setattr(trainers, "run_trial", lambda *arguments: signal.raise_signal(signal.SIGINT))
    ended = main(*SMALL)
    assert ended.status == 130
    (path,) = Path("runs").iterdir()
    assert f"--resume {path}" in ended.out


def test_resume_in_a_process_of_its_own(first_run, tmp_path):
    """A run that lost its last two trials, one of them torn, given by its run.json."""
    _, _, folder = first_run
    whole = only_run(folder / "runs")
    commit, dirty = git_state(ROOT)  # now: somebody may be at work in this tree
    changed = whole.record.environment.model_copy(update={"code": uncommitted_code(ROOT, dirty)})
    record = whole.record.model_copy(update={"commit": commit, "dirty": dirty, "environment": changed})
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "run.json").write_text(record.model_dump_json())
    (copy / "trials.jsonl").write_text((whole.path / "trials.jsonl").read_text().splitlines()[0] + '\n{"index": 1, "se')
    ended = command("--resume", copy / "run.json", *ONE_THREAD, cwd=tmp_path)
    assert (ended.status, ended.err) == (0, "")
    assert "trial 1/2, seed 1" in ended.out
    assert "trials.jsonl:2: skipped a damaged line" in ended.out
    assert settled(store.read(copy)) == settled(whole)


def test_resume_of_a_finished_run_trains_nothing_and_says_so(main):
    main(*SMALL, "--trials", "2")
    run = only_run("runs")
    ended = main("--resume", run.path)
    assert (ended.status, ended.err) == (0, "")
    assert only_run("runs").trials == run.trials
    assert f"run {run.record.id}" in ended.out
    assert f"record: {run.path}" in ended.out
    assert "trial 1/" not in ended.out
    assert "nothing to do: no trial is missing" in ended.out


def test_resume_adds_trials_to_a_finished_run(main):
    main(*SMALL, "--trials", "1")
    main(*SMALL, "--trials", "2", "--out", "whole")
    run, whole = only_run("runs"), only_run("whole")
    assert main("--resume", run.path, "--trials", "2", "--quiet").status == 0
    extended = only_run("runs")
    assert (extended.record.status, extended.record.seeds) == ("finished", [0, 1])
    assert extended.trials[0] == run.trials[0]
    assert settled(extended) == settled(whole)


def test_a_doctored_recipe_is_not_resumed(main):
    main(*SMALL, "--trials", "1")
    run = only_run("runs")
    path = run.path / "run.json"
    text = path.read_text().replace('"batch_size": 64', '"batch_size": 32')
    path.write_text(text)
    (run.path / "trials.jsonl").write_text("")
    message = error_of(main("--resume", run.path))
    assert "cannot be resumed: recipe_hash was" in message
    assert path.read_text() == text


def test_uncommitted_code_that_has_changed_again_is_not_resumed(main, monkeypatch):
    """Commit and `dirty` are the same."""
    digests = {"now": "before"}
    monkeypatch.setattr(run_trials.environment, "git_state", lambda folder: ("f" * 40, True))
    monkeypatch.setattr(run_trials.environment, "code_digest", lambda folder: digests["now"])
    main(*SMALL, "--trials", "1")
    run = only_run("runs")
    digests["now"] = "after"
    assert "code was 'before' and is 'after' now" in error_of(main("--resume", run.path, "--trials", "2"))
    digests["now"] = "before"
    assert main("--resume", run.path, "--trials", "2").status == 0


def test_ctrl_c_while_torch_is_imported(tmp_path):
    (tmp_path / "torch.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    variables = environment(PYTHONPATH=f"{tmp_path}:{RUN.parents[1]}")
    ended = wait(launch(RUN, cwd=tmp_path, variables=variables))
    assert ended.status in (130, -signal.SIGINT)
    assert "Traceback" not in ended.err


def test_a_busy_machine_is_said_before_the_first_trial_and_kept_with_each(main, monkeypatch):
    monkeypatch.setattr(run_trials.load, "foreign_load", lambda *arguments: 0.5)
    ended = main(*SMALL, "--trials", "2")
    assert ended.out.index("other processes keep 50% of the CPUs busy") < ended.out.index("trial 1/2")
    run = only_run("runs")
    assert [trial.foreign_load for trial in run.trials] == [0.5, 0.5]
    assert all(trial.started < trial.ended for trial in run.trials)
    assert run.trials[0].ended <= run.trials[1].started
    assert "0 ‡" in ended.out
    assert "‡ other processes kept at least 10% of the CPUs busy during a trial" in " ".join(ended.out.split())


def test_it_waits_for_a_quiet_machine_outside_the_clock(main, monkeypatch):
    waits = []

    def wait_for_quiet(seconds, *rest):
        waits.append(seconds)
        monkeypatch.setattr(run_trials, "PROCESS_STARTED", run_trials.PROCESS_STARTED - 1e6)
        return 1e6

    monkeypatch.setattr(run_trials.load, "wait_for_quiet", wait_for_quiet)
    ended = main(*SMALL, "--trials", "1", "--wait-for-quiet", "60")
    assert (ended.status, ended.err, waits) == (0, "", [60])
    assert "waiting for idle CPUs, at most 60 s" in ended.out
    (total,) = [lap.seconds for lap in only_run("runs").trials[0].laps if lap.name == "total"]
    assert total < 1e6


def test_a_full_disk_names_the_file_and_how_to_go_on_though_the_end_cannot_be_recorded_either(main, monkeypatch):
    def full(path, what):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(store, "append_line", full)
    real = store.RunDirectory.finish
    monkeypatch.setattr(store.RunDirectory, "finish", lambda run, *rest: full(run.path / "run.json", ""))
    ended = main(*SMALL, "--trials", "1")
    monkeypatch.setattr(store.RunDirectory, "finish", real)
    assert ended.status == 2
    error = ended.err.splitlines()[-1]
    assert "the trial of seed=0 could not be written (No space left on device)" in error
    assert "make room and resume the run" in error
    assert "trials.jsonl" in error
    assert "how the run ended could not be recorded" in ended.err


def test_a_disk_that_is_full_before_the_first_trial_ends_the_run_too(main, monkeypatch):
    def full(path, texts):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(run_trials.files, "write_sources", full)
    assert main(*SMALL, "--trials", "1").status == 2
    record = only_run("runs").record
    assert (record.status, record.reason.partition(":")[0]) == ("failed", "[Errno 28] No space left on device")
