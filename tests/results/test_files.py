"""Files that a failure at any point leaves whole."""

import contextlib
import errno
import os
import stat
from pathlib import Path

import pytest

from results import files
from results.files import append_line, read_sources, source_names, write_atomically, write_sources


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path):
    path = tmp_path / "a.json"
    write_atomically(path, "old\n")
    write_atomically(path, "new ü\n")
    assert path.read_text(encoding="utf-8") == "new ü\n"
    assert [one.name for one in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failure_leaves_the_old_file_and_no_other(tmp_path, monkeypatch, step):
    path = tmp_path / "a.json"
    write_atomically(path, "old\n")

    def fail(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, step, fail) if step == "fsync" else monkeypatch.setattr(files.Path, step, fail)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, "new\n")
    monkeypatch.undo()
    assert path.read_text() == "old\n"
    assert [one.name for one in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize(("number", "is_told"), [(errno.EINVAL, False), (errno.EBADF, False), (errno.EIO, True)])
def test_a_file_system_need_not_sync_folders(tmp_path, monkeypatch, number, is_told):
    real = os.fsync

    def sync(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        real(descriptor)

    monkeypatch.setattr(files.os, "fsync", sync)
    with pytest.raises(OSError, match="Input/output") if is_told else contextlib.nullcontext():
        write_atomically(tmp_path / "a.json", "new\n")
    assert (tmp_path / "a.json").read_text() == "new\n"


def test_lines_are_appended(tmp_path):
    path = tmp_path / "trials.jsonl"
    append_line(path, b"one")
    append_line(path, b"two")
    assert path.read_bytes() == b"one\ntwo\n"


def test_a_torn_line_is_ended_before_the_next(tmp_path):
    path = tmp_path / "trials.jsonl"
    path.write_bytes(b"one\ntor")
    append_line(path, b"two")
    assert path.read_bytes() == b"one\ntor\ntwo\n"


def test_a_line_that_cannot_be_written_whole_is_not_written_at_all(tmp_path, monkeypatch):
    path = tmp_path / "trials.jsonl"
    append_line(path, b"one")

    def fail(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        append_line(path, b"two")
    assert path.read_bytes() == b"one\n"


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_an_error(tmp_path):
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(OSError, match="Permission denied"):
        write_atomically(tmp_path / "a.json", "new\n")


def test_a_file_is_readable_as_far_as_the_umask_lets_it(tmp_path):
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "a.json", "{}")
    finally:
        os.umask(before)
    assert (tmp_path / "a.json").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (["a/train.py", "b/model.py"], ["train.py", "model.py"]),
        (["a/train.py", "b/train.py", "b/model.py"], ["a_train.py", "b_train.py", "model.py"]),
        (["train.py", "../old/train.py"], ["train.py", "old_train.py"]),
        (["/home/me/my code/x.py", "./.hidden/x.py"], ["home_me_my_code_x.py", "hidden_x.py"]),
        (["a/Train.py", "b/train.py"], ["a_Train.py", "b_train.py"]),
        (["__init__.py", "a/__init__.py"], ["__init__.py", "a___init__.py"]),
        (["a/uncommitted.diff"], ["a_uncommitted.diff"]),
        (["a/train.py", "a/train.py"], ["train.py"]),
    ],
)
def test_a_file_has_its_own_name_unless_another_one_has_it_too(given, names):
    found = source_names(map(Path, given))
    assert list(found.values()) == names
    assert source_names(map(Path, reversed(given))) == found, "in whatever order"


@pytest.mark.parametrize(
    "given",
    [
        ["a/train.py", "b/train.py", "a_train.py"],
        ["a/b_train.py", "a_b/train.py", "c/train.py", "c/b_train.py"],
        ["../train.py", "../../train.py", "train.py"],
        ["ä/train.py", "ü/train.py"],
        ["uncommitted.diff", "_uncommitted.diff"],
        ["\udcff/" + "x" * 240 + ".py", "y/" + "x" * 240 + ".py"],
        ["\U0001f600" * 60 + ".py", "y/" + "\U0001f600" * 60 + ".py"],
    ],
)
def test_names_differ_and_stay_in_the_folder(tmp_path, given):
    names = list(source_names(map(Path, given)).values())
    assert len({name.casefold() for name in (*names, files.UNCOMMITTED)}) == len(given) + 1
    assert all(Path(name).name == name != ".." for name in names)
    texts = {name: str(number) for number, name in enumerate(names)}
    write_sources(tmp_path, texts)
    assert read_sources(tmp_path) == texts
