"""A run whose process is gone has ended; one in progress, or on another host, has not."""

import subprocess
import sys

import pytest

from results import store, writer
from results.writer import Writer
from tests.results.builders import record


def status(tmp_path, by):
    path = store.create(tmp_path, record(writer=by.model_dump())).path
    found = store.read(path).record
    return found.status, found.reason


def test_this_process_is_not_gone(tmp_path):
    assert status(tmp_path, writer.this_process()) == ("running", None)


def test_a_process_that_ended_is_gone(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", ""])
    by = writer.this_process().model_copy(update={"pid": process.pid})
    process.wait()
    assert status(tmp_path, by) == ("interrupted", store.GONE)


def test_another_process_with_the_same_number_is_not_the_writer(tmp_path):
    here = writer.this_process()
    assert status(tmp_path, here.model_copy(update={"started": here.started - 3600})) == ("interrupted", store.GONE)


def test_of_another_host_nothing_is_known(tmp_path):
    assert status(tmp_path, Writer(host="other", pid=1, started=0)) == ("running", None)


def test_a_run_that_ended_keeps_its_own_reason(tmp_path):
    by = Writer(host=writer.this_process().host, pid=2**22, started=0)
    run = store.create(tmp_path, record(writer=by.model_dump()))
    run.finish("failed", "out of memory")
    assert (store.read(run.path).record.status, store.read(run.path).record.reason) == ("failed", "out of memory")


@pytest.mark.parametrize("name", ["write_atomically"])
def test_a_disk_without_room_for_the_record_leaves_no_directory(tmp_path, monkeypatch, name):
    def full(path, text):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(store, name, full)
    with pytest.raises(OSError, match=r"No space left on device: .*run.json"):
        store.create(tmp_path / "runs", record())
    assert list((tmp_path / "runs").iterdir()) == []
