"""How messages write the commands: `bench/run.py` in a checkout, `paceline run` where that was typed."""

import argparse
import contextlib
import re
from collections.abc import Iterator

LAUNCHED = re.compile(r"(?P<launcher>accelerate launch(?: [^\s/]+)*?) bench/(?P<name>\w+)\.py\b")
ALONE = re.compile(r"(?<![\w./-])(?:python )?bench/(?P<name>\w+)\.py\b")

EXTRA = re.compile(r"pip install -e '\.(?P<extra>\[\w+\])' -c constraints\.txt")

_program: str | None = None
"""`paceline` or `python -m paceline`; None: the commands are the files of bench/"""


@contextlib.contextmanager
def typed_as(program: str) -> Iterator[None]:
    """Let `as_typed` write the commands of `program` until the block ends."""
    global _program
    before, _program = _program, program
    try:
        yield
    finally:
        _program = before


def as_typed(text: str) -> str:
    """A message with every command written as the user would type it, who may have no checkout."""
    if _program is None:
        return text
    text = LAUNCHED.sub(r"\g<launcher> -m paceline \g<name>", text)
    text = EXTRA.sub(r"pip install 'PATH/TO/PACELINE\g<extra>'", text)
    return ALONE.sub(rf"{_program} \g<name>", text)


def without_folders(arguments: list[str]) -> list[str]:
    """A command line without the folders and addresses of this machine, which do not describe a run."""
    options = argparse.ArgumentParser(add_help=False, allow_abbrev=True)
    for option in ("--out", "--data-dir", "--resume", "--cluster"):
        options.add_argument(option)
    return options.parse_known_args(arguments)[1]
