"""The web page of a repository, to which commits can be linked."""

import re
from pathlib import Path

from bench.command_line import git

REMOTE = re.compile(
    r"(?:(?:https?|ssh|git)://(?:[^@/]*@)?|[^@/:]+@)"  # a protocol or a user; never a folder of this machine
    r"(?P<host>[^/:@]+)(?::\d+)?[:/]/*(?P<path>[^?#\s]+?)(?:\.git)?/*"
)


def web_page(folder: Path) -> str | None:
    """Of the remote `origin` of the repository that `folder` is a part of; None without git, a repository or a remote
    on a host. An installed copy may lie in a repository of the user's own, which keeps no file of it."""
    try:
        git.output(folder, "ls-files", "--error-unmatch", ".")
        return web_address(git.output(folder, "remote", "get-url", "origin").strip())
    except (OSError, ValueError):
        return None


def web_address(remote: str) -> str | None:
    """`https://HOST/OWNER/NAME` of a remote, without user and password; None of a remote that is no host's.

    GitHub, GitLab, Gitea and Forgejo have the pages `/commit/HASH` and `/compare/FROM...TO` under it.
    """
    found = REMOTE.fullmatch(remote)
    return found and f"https://{found['host']}/{found['path']}"
