import contextlib
import errno
import io
import os
import re
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import pytest

from pipelines.data.download import Archive, alone, fetch, obtain, unpack
from pipelines.data.files import DataError
from tests.pipelines.data.synthetic import Mirror, md5

CONTENT = bytes(range(256)) * 4_000
NOTHING_LISTENS = "http://127.0.0.1:9"


def archive(*urls: str) -> Archive:
    return Archive("sub/file.bin", md5(CONTENT), urls)


@pytest.fixture
def good(mirror: Callable[[], Mirror]) -> Mirror:
    served = mirror()
    served.files["file.bin"] = CONTENT
    return served


def test_downloads_once_and_quietly(good: Mirror, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = fetch(archive(good.url("file.bin")), tmp_path)
    assert path == tmp_path / "sub/file.bin"
    assert path.read_bytes() == CONTENT
    assert [entry.name for entry in path.parent.iterdir()] == ["file.bin"]
    assert fetch(archive(good.url("file.bin")), tmp_path) == path
    assert good.requests == [("/file.bin", None)]
    assert capfd.readouterr() == ("", "")


def test_a_file_with_another_checksum_is_replaced(good: Mirror, tmp_path: Path) -> None:
    path = tmp_path / "sub/file.bin"
    path.parent.mkdir()
    path.write_bytes(CONTENT[:100])
    fetch(archive(good.url("file.bin")), tmp_path)
    assert path.read_bytes() == CONTENT


def test_goes_on_where_it_broke_off(good: Mirror, tmp_path: Path) -> None:
    good.break_after = 300_000
    with pytest.raises(DataError, match="the connection broke off after 300,000 of 1,024,000 bytes"):
        fetch(archive(good.url("file.bin")), tmp_path)
    assert (tmp_path / "sub/file.bin.part").read_bytes() == CONTENT[:300_000]
    assert not (tmp_path / "sub/file.bin").exists()
    assert fetch(archive(good.url("file.bin")), tmp_path).read_bytes() == CONTENT
    assert good.requests == [("/file.bin", None), ("/file.bin", "bytes=300000-")]


def test_the_next_mirror_goes_on(good: Mirror, mirror: Callable[[], Mirror], tmp_path: Path) -> None:
    broken = mirror()
    broken.files["file.bin"] = CONTENT
    broken.break_after = 500_000
    assert fetch(archive(broken.url("file.bin"), good.url("file.bin")), tmp_path).read_bytes() == CONTENT
    assert good.requests == [("/file.bin", "bytes=500000-")]


@pytest.mark.parametrize(
    ("beginning", "requests"),
    [(b"not this file", 2), (CONTENT + b"more", 2), (CONTENT, 1), (b"", 1)],
    ids=["other", "longer", "complete", "empty"],
)
def test_what_an_earlier_download_left(good: Mirror, tmp_path: Path, beginning: bytes, requests: int) -> None:
    part = tmp_path / "sub/file.bin.part"
    part.parent.mkdir()
    part.write_bytes(beginning)
    assert fetch(archive(good.url("file.bin")), tmp_path).read_bytes() == CONTENT
    assert len(good.requests) == requests
    assert not part.exists()


def test_a_server_that_ignores_ranges_sends_everything_again(good: Mirror, tmp_path: Path) -> None:
    good.ranges = False
    part = tmp_path / "sub/file.bin.part"
    part.parent.mkdir()
    part.write_bytes(CONTENT[:1_000])
    assert fetch(archive(good.url("file.bin")), tmp_path).read_bytes() == CONTENT
    assert good.requests == [("/file.bin", "bytes=1000-")]


def test_a_wrong_file_on_the_first_mirror(good: Mirror, mirror: Callable[[], Mirror], tmp_path: Path) -> None:
    bad = mirror()
    bad.files["file.bin"] = b"<html>sign in to the airport</html>"
    assert fetch(archive(bad.url("file.bin"), good.url("file.bin")), tmp_path).read_bytes() == CONTENT
    assert good.requests == [("/file.bin", None)]


def test_all_mirrors_fail(mirror: Callable[[], Mirror], tmp_path: Path) -> None:
    empty, bad = mirror(), mirror()
    bad.files["file.bin"] = b"wrong"
    urls = [f"{NOTHING_LISTENS}/file.bin", empty.url("file.bin"), bad.url("file.bin")]
    with pytest.raises(DataError) as error:
        fetch(archive(*urls), tmp_path)
    message = str(error.value)
    assert message.startswith("file.bin could not be downloaded: ")
    assert f"{urls[0]} ([Errno {errno.ECONNREFUSED}] Connection refused)" in message
    assert f"{urls[1]} (HTTP Error 404: Not Found)" in message
    assert f"{urls[2]} (MD5 {md5(b'wrong')}, expected {md5(CONTENT)})" in message
    assert message.endswith(f"get it elsewhere (MD5 {md5(CONTENT)}) and put it at {tmp_path}/sub/file.bin")
    assert "\n" not in message
    assert list((tmp_path / "sub").iterdir()) == []


def test_a_mirror_that_does_not_answer(good: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.data.download.TIMEOUT_SECONDS", 0.2)
    good.answers.clear()
    with pytest.raises(DataError, match=re.escape(f"{good.url('file.bin')} (timed out)")):
        fetch(archive(good.url("file.bin")), tmp_path)


def test_a_full_disk_is_no_fault_of_the_mirrors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fill(url: str, part: Path) -> None:
        asked.append(url)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("pipelines.data.download._transfer", fill)
    with pytest.raises(DataError, match=r"file\.bin\.part: No space left on device; .*name another folder"):
        fetch(archive("first", "second"), tmp_path)
    assert asked == ["first"]


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match=r"file\.bin: Not a directory"):
        obtain([archive(NOTHING_LISTENS)], tmp_path / "file")
    with pytest.raises(DataError, match="name another folder"), alone(tmp_path / "file", "any"):
        pass


def tar(path: Path, **members: bytes | tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz") as file:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                file.addfile(content)
                continue
            info = tarfile.TarInfo(name.replace("__", "/"))
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return path


def test_unpacks_the_members_that_are_expected_and_no_other(mirror: Callable[[], Mirror], tmp_path: Path) -> None:
    served = mirror()
    path = tar(tmp_path / "x.tar.gz", d__a=b"A", d__evil=b"E", **{"..__outside": b"O"}, d__b=b"B")
    served.files["x.tar.gz"] = path.read_bytes()
    folder = tmp_path / "in"
    obtain([Archive("x.tar.gz", md5(path.read_bytes()), (served.url("x.tar.gz"),), ("d/b", "d/a"))], folder)
    files = {entry.relative_to(tmp_path).as_posix() for entry in tmp_path.rglob("*") if entry.is_file()}
    assert files == {"x.tar.gz", "in/x.tar.gz", "in/d/a", "in/d/b"}
    assert (folder / "d/a").read_bytes() == b"A"


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE])
def test_a_member_that_is_not_a_plain_file(tmp_path: Path, kind: bytes) -> None:
    link = tarfile.TarInfo("a")
    link.type = kind
    link.linkname = "/etc/passwd"
    path = tar(tmp_path / "x.tar.gz", a=link)
    with pytest.raises(DataError, match=re.escape(f"{path}: there is no file a in it; delete it")):
        unpack(path, ["a"], tmp_path)
    assert not (tmp_path / "a").exists()


def test_a_broken_tar(tmp_path: Path) -> None:
    path = tar(tmp_path / "x.tar.gz", a=CONTENT)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(DataError, match=re.escape(f"{path}: cannot be unpacked (")):
        unpack(path, ["a"], tmp_path)
    path.write_bytes(b"no tar")
    with pytest.raises(DataError, match=re.escape(f"{path}: cannot be unpacked (")):
        unpack(path, ["a"], tmp_path)
    assert not (tmp_path / "a").exists()


def test_one_thread_at_a_time(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    order = []

    def wait() -> None:
        with alone(tmp_path, "mnist"):
            order.append("second")

    with alone(tmp_path, "mnist"):
        thread = Thread(target=wait)
        thread.start()
        shown = ""
        while f"waiting for another process that downloads mnist to {tmp_path}\n" not in shown:
            assert thread.is_alive(), "it did not wait"
            time.sleep(0.01)
            shown += capfd.readouterr().err
        order.append("first")
    thread.join(60)
    assert order == ["first", "second"]


LOAD = """
import sys
from pathlib import Path
from types import SimpleNamespace
from pipelines.data import download, sources
from pipelines.data.download import Archive
from pipelines.data.files import missing

def read(folder):
    if module.find(folder) is None:
        raise missing("any", folder, [], "")
    return (folder / "file.bin").read_bytes()

download.TIMEOUT_SECONDS = 600  # the server may answer only when another process has started
url, md5, folder = sys.argv[1:]
module = SimpleNamespace(
    find=lambda folder: folder if (folder / "file.bin").exists() else None,
    read=read,
    archives=lambda: (Archive("file.bin", md5, (url,)),),
)
sources.source = lambda name: module
print(len(sources.load("any", Path(folder))))
"""


def read(terminal: int) -> bytes:
    """What comes next; nothing when the other end is closed. Linux calls that an error."""
    with contextlib.suppress(OSError):
        return os.read(terminal, 100_000)
    return b""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
def test_a_terminal_shows_progress(good: Mirror, tmp_path: Path) -> None:
    terminal, end = os.openpty()
    command = [sys.executable, "-c", LOAD, good.url("file.bin"), md5(CONTENT), str(tmp_path)]
    variables = os.environ | {"TERM": "xterm", "COLUMNS": "80"}
    with subprocess.Popen(command, stderr=end, stdout=subprocess.DEVNULL, env=variables) as process:
        os.close(end)
        shown = b"".join(iter(lambda: read(terminal), b"")).decode()
    os.close(terminal)
    assert process.returncode == 0
    assert "file.bin" in shown
    assert "1.0/1.0 MB" in shown


def test_two_processes_download_once(good: Mirror, tmp_path: Path) -> None:
    good.answers.clear()
    command = [sys.executable, "-c", LOAD, good.url("file.bin"), md5(CONTENT), str(tmp_path / "new" / "data")]
    errors, end = os.pipe()
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=end, text=True) for _ in range(2)]
    os.close(end)
    with os.fdopen(errors) as of_both:
        assert "waiting for another process" in of_both.readline()
        good.answers.set()
        assert [process.communicate(timeout=180)[0] for process in processes] == [f"{len(CONTENT)}\n"] * 2
    assert len(good.requests) == 1
