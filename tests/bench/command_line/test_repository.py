import subprocess

import pytest

from bench.command_line.repository import web_address, web_page


@pytest.mark.parametrize(
    ("remote", "page"),
    [
        ("https://github.com/owner/name.git", "https://github.com/owner/name"),
        ("https://github.com/owner/name", "https://github.com/owner/name"),
        ("http://user:secret@host.org/group/sub/name.git/", "https://host.org/group/sub/name"),
        ("git@github.com:owner/name.git", "https://github.com/owner/name"),
        ("ssh://git@host.org:2222/owner/name.git", "https://host.org/owner/name"),
        ("/srv/git/name.git", None),
        ("../name", None),
        ("file:///srv/git/name.git", None),
        ("javascript:alert(1)", None),
        ("", None),
    ],
)
def test_the_page_of_a_remote(remote, page):
    assert web_address(remote) == page


def test_the_page_is_that_of_origin(tmp_path):
    assert web_page(tmp_path) is None
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    assert web_page(tmp_path) is None
    subprocess.run(["git", "-C", tmp_path, "remote", "add", "origin", "git@host.org:a/b.git"], check=True)
    (tmp_path / "kept").touch()
    subprocess.run(["git", "-C", tmp_path, "add", "kept"], check=True)
    assert web_page(tmp_path) == "https://host.org/a/b"


def test_an_installed_copy_has_no_page_of_the_repository_around_it(tmp_path):
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    subprocess.run(["git", "-C", tmp_path, "remote", "add", "origin", "git@host.org:a/b.git"], check=True)
    installed = tmp_path / "venv" / "bench"
    installed.mkdir(parents=True)
    (installed / "report.py").touch()
    assert web_page(installed) is None
