"""What the user reads of a run that ended early."""

import pytest

from bench.training import events
from bench.training.ending import how_to_resume, keep_traceback
from pipelines.scripts.run import ScriptError
from results import store
from tests.results import builders


@pytest.mark.parametrize(
    ("interleaved", "by_gate", "names_others"), [(None, False, False), ("both", False, True), ("both", True, False)]
)
def test_a_run_is_resumed_with_those_of_its_process(tmp_path, monkeypatch, interleaved, by_gate, names_others):
    if by_gate:
        monkeypatch.setenv(events.INTERLEAVED, interleaved)
    directory = store.create(tmp_path, builders.record(interleaved=interleaved))
    assert ("one more --resume" in how_to_resume(directory)) is names_others


def test_a_traceback_that_cannot_be_written_does_not_replace_the_error(tmp_path):
    directory = store.create(tmp_path, builders.record())
    error = ScriptError("mine.py:train: ZeroDivisionError")
    error.__cause__ = ZeroDivisionError()
    assert keep_traceback(directory, error) == f"; the traceback is in {directory.path / 'traceback.txt'}"
    (directory.path / "traceback.txt").unlink()
    (directory.path / "traceback.txt").mkdir()
    assert keep_traceback(directory, error).startswith("; the traceback could not be written: ")
