"""Options of bench/run.py that are commands of their own now: what to type in their place."""

import shlex
from collections.abc import Sequence

MOVED: dict[str, tuple[str, str | None]] = {
    "--scaling": ("bench/scale.py", "--processes"),
    "--side-by-side": ("bench/sweep.py", "--workers"),
    "--dry-run": ("bench/estimate.py", None),
    "--list": ("bench/recipes.py list", None),
    "--turns": ("bench/gate.py --against CHECKOUT", None),
}
"""the command, and the option that the old one has become, if any; the first that is found decides"""
RENAMED = {
    "bench/scale.py": {"--sample": "--smoke-test", "--interleave": "--by-seed"},
    "bench/sweep.py": {"--sample": "--smoke-test"},
    "bench/estimate.py": {"--sample": "--smoke-test", "--resume": "--run"},
}


def new_command(words: Sequence[str]) -> str | None:
    """The command that does what an old command line of bench/run.py asks for; None where bench/run.py does it."""
    flags = {word.partition("=")[0] for word in words}
    old = next((old for old in MOVED if old in flags), None)
    if old is None:
        return None
    command, option = MOVED[old]
    if command not in RENAMED:
        return f"python {command}"
    renamed = RENAMED[command] | ({old: option} if option else {})
    rest = []
    for word in words:
        flag, equals, value = word.partition("=")
        if flag != old or option:
            rest.append(f"{renamed.get(flag, flag)}{equals}{value}" if word.startswith("--") else word)
    return shlex.join(["python", command, *rest])
