"""A disk that is full: what was written before stays, and the writer says what it could not write."""

import errno
import os
import resource
import signal
import subprocess

import pytest

from results import lock
from results.store import create, find, read, resume, write_atomically
from tests.forks import FORKS
from tests.results.builders import missed, record, trial


@pytest.fixture
def written(tmp_path):
    """A run with trials of seeds 0 and 1; seed 2 is missing."""
    run = create(tmp_path / "runs", record())
    run.append(trial(0))
    run.append(missed(1))
    return run


def test_a_full_disk_is_told_of_and_leaves_the_earlier_trials(written, monkeypatch):
    before = (written.path / "trials.jsonl").read_bytes()

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match=r"the trial of seed=2 could not be written \(No space left") as caught:
            written.append(trial(2))
    assert caught.value.errno == errno.ENOSPC
    assert (written.path / "trials.jsonl").read_bytes() == before
    assert written.missing_seeds == [2]
    written.append(trial(2))
    assert read(written.path).trials == (trial(0), missed(1), trial(2))


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no /dev/full")  # noqa: PTH110
def test_a_disk_that_is_full_at_the_first_byte(written):
    path = written.path / "trials.jsonl"
    path.unlink()
    path.symlink_to("/dev/full")
    with pytest.raises(OSError, match="the trial of seed=2 could not be written"):
        written.append(trial(2))


def test_write_atomically_leaves_the_old_or_the_new(tmp_path, monkeypatch):
    path = tmp_path / "run.json"
    write_atomically(path, "old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            write_atomically(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["run.json"]  # noqa: PTH208
    write_atomically(path, "new")
    assert path.read_text() == "new"


def fill(run):
    """Append trials until one cannot be written. Returns how many were."""
    for seed in run.missing_seeds:
        try:
            run.append(trial(seed))
        except OSError:
            return seed
    raise AssertionError("the disk was never full")


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 kB of our own, where we may mount one."""
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("mounting takes a right that we do not have here")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_file_system_that_fills_up_loses_nothing_and_goes_on_when_there_is_room(small_disk):
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(16_384))
    kept = fill(create(small_disk, record(seeds=list(range(1000)))))
    assert 0 < kept < 1000
    (run,) = find([small_disk])
    assert run.trials == tuple(trial(seed) for seed in range(kept))
    assert run.warnings == ()
    ballast.unlink()
    again = resume(run.path, record())
    again.append(trial(kept))
    assert len(read(run.path).trials) == kept + 1


def fill_under_a_limit(root, ends):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    run = create(root, record(seeds=list(range(1000))))
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    ends.send(fill(run))


def test_a_file_that_may_not_grow_ends_with_a_whole_line(tmp_path):
    ours, theirs = FORKS.Pipe(duplex=False)
    writer = FORKS.Process(target=fill_under_a_limit, args=(tmp_path, theirs))
    writer.start()
    kept = ours.recv()
    writer.join()
    (run,) = find([tmp_path])
    assert 0 < len(run.trials) == kept < 1000
    assert run.warnings == ()


def write_a_thousand(root, number):
    run = create(root, record(id=f"writer{number}", seeds=list(range(1000))))
    for seed in run.missing_seeds:
        run.append(trial(seed, notes={"writer": number}))
    run.finish("finished")


@pytest.mark.slow
def test_eight_writers_of_a_thousand_trials_lose_none(tmp_path):
    writers = [FORKS.Process(target=write_a_thousand, args=(tmp_path, number)) for number in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    runs = find([tmp_path])
    assert [len(run.trials) for run in runs] == [1000] * 8
    for number, run in enumerate(runs):
        assert {one.notes["writer"] for one in run.trials} == {number}
        assert (run.missing_seeds, run.warnings, run.record.status) == ([], (), "finished")


def test_a_lock_that_cannot_be_written_leaves_no_directory(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "HOLDER", "nowhere/holder")
    with pytest.raises(OSError, match="No such file or directory"):
        create(tmp_path, record())
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    create(tmp_path, record())
