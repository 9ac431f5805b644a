"""How messages write the commands: `bench/run.py` in a checkout, `paceline run` where that was typed."""

import argparse
import contextlib
import re
from collections.abc import Iterator, Sequence

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


def recorded(prog: str, arguments: Sequence[str]) -> list[str]:
    """A command line as records have it: without the folders and addresses of this machine, which do not describe a
    run."""
    options = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for option in ("--out", "--data-dir", "--resume", "--cluster"):
        options.add_argument(option)
    return [prog, *map(encodable, options.parse_known_args(arguments)[1])]


def encodable(text: str) -> str:
    """A text of the command line as UTF-8 has it: a byte of a path that is no UTF-8 becomes a question mark."""
    return text.encode("utf-8", "replace").decode()
