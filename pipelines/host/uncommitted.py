"""The uncommitted changes of the code that trains, as a patch: what a digest tells apart and cannot give back."""

import os
from pathlib import Path

from pipelines.host.environment import CODE, RECORDS, git_output, is_source

DIFF = (
    *("diff", "--binary", "--full-index", "--no-renames", "--no-color", "--no-ext-diff", "--no-textconv"),
    *("--src-prefix=a/", "--dst-prefix=b/"),
)
"""whatever the user's configuration says of a diff"""
DIFFERENT = 1
"""status of `git diff --no-index` for files that differ"""


def diff(folder: Path) -> str | None:
    """A patch with which `git apply` makes of a clean checkout of the commit the code of `folder`, with its digest.

    It covers what the commit has in `environment.CODE`, and the source files that git does not track, ignored ones
    included. Its paths start from `folder`: one within a larger repository needs `git apply --directory`. Empty where
    nothing of this has changed; None where git cannot say. Bytes that are no UTF-8 are escaped as `os.fsdecode` does.
    Writes nothing: a checkout may be read-only.
    """
    tracked = git_output(folder, *DIFF, "--relative", "HEAD", "--", *CODE, f":(exclude){RECORDS}")
    others = git_output(folder, "ls-files", "--others", "-z", "--", *CODE)
    if tracked is None or others is None:
        return None
    paths = (name for name in map(os.fsdecode, others.split(b"\0")) if is_source(Path(name)))
    added = [git_output(folder, *DIFF, "--no-index", "--", os.devnull, path, statuses=(DIFFERENT,)) for path in paths]
    known = [patch for patch in added if patch is not None]
    return b"".join([tracked, *known]).decode(errors="surrogateescape") if len(known) == len(added) else None
