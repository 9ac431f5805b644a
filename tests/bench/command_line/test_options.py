import argparse
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import pytest

from bench.command_line import options
from bench.command_line.options import Argument, Count, Folder, Options


@dataclass(frozen=True, kw_only=True)
class Shared(Options):
    title = "shared"
    renamed: ClassVar = {"--directory": "--folder"}

    folder: Folder = Path("here")
    """where it goes"""
    quick: bool = False
    """at 100% speed"""


@dataclass(frozen=True, kw_only=True)
class Own(Shared):
    title = "own"

    words: Annotated[list[str], Argument(metavar="WORD", positional=True)] = field(default_factory=list)
    """any words"""
    often: Count | None = None
    """how often"""
    kind: Literal["a", "b"] = "a"
    """which kind"""
    rule: Annotated[list[str], Argument(metavar="RULE")] = field(default_factory=list)
    """may be repeated"""

    def __post_init__(self):
        if self.often and self.quick:
            raise ValueError("--often and --quick contradict each other")


def parsed(*words):
    return options.parse(Own, "bench/it.py", words, description="It.", epilog="examples:\n  it")


@pytest.fixture
def refusal(capsys):
    def call(*words):
        with pytest.raises(SystemExit) as leaving:
            parsed(*words)
        assert leaving.value.code == 2
        message = capsys.readouterr().err
        assert message.startswith("bench/it.py: error: ")
        assert message.endswith("; see --help\n")
        assert message.count("\n") == 1
        return message

    return call


def test_fields_become_options_of_their_types():
    assert parsed() == Own()
    given = parsed("x", "--often", "2", "y", "--kind", "b", "--rule", "1", "--rule", "2", "--folder", "f")
    assert given == Own(words=["x", "y"], often=2, kind="b", rule=["1", "2"], folder=Path("f"))
    assert parsed("--quick").quick


def test_the_help_is_made_from_the_docstrings(capsys):
    with pytest.raises(SystemExit) as leaving:
        parsed("--help")
    text = capsys.readouterr().out
    assert leaving.value.code == 0
    for line in ("usage: bench/it.py [WORD] [options]", "shared:", "own:", "exit status: 0 ok", "examples:"):
        assert line in text
    assert "--folder DIR" in text
    assert "where it goes (default: here)" in text
    assert "at 100% speed" in text
    assert "--kind a|b" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--often", "0"], "argument --often: must be at least 1"),
        (["--often", "many"], "argument --often: 'many' is not a whole number"),
        (["--kind", "c"], "argument --kind: invalid choice: 'c'"),
        (["--often", "1", "--quick"], "--often and --quick contradict each other"),
        (["--oftne", "1"], "unrecognized arguments: --oftne (did you mean --often?)"),
        (["--qui"], "unrecognized arguments: --qui"),
    ],
)
def test_what_is_wrong_is_one_line_and_status_2(refusal, words, message):
    assert message in refusal(*words)


def test_an_old_spelling_is_read_and_the_new_one_said(capsys):
    assert parsed("--directory=f").folder == Path("f")
    assert capsys.readouterr().err == "bench/it.py: note: --directory is now --folder\n"


def test_options_are_passed_on_without_defaults():
    given = parsed("x", "--often", "2", "--folder", "f")
    assert options.to_arguments(given, Shared) == ["--folder", "f"]
    assert options.to_arguments(parsed("--quick"), Shared) == ["--quick"]
    assert options.to_arguments(given, Shared, without=("folder",)) == []


@pytest.mark.parametrize(
    ("text", "size"),
    [("2GiB", 2 * 2**30), ("500MB", 500_000_000), ("1.5kB", 1500), ("4096", 4096), ("3 MiB", 3 * 2**20)],
)
def test_a_size_in_bytes(text, size):
    assert options.size(text) == size


@pytest.mark.parametrize("text", ["", "2 pounds", "-1GB", "0", "GB", "1e9"])
def test_what_is_no_size(text):
    with pytest.raises(argparse.ArgumentTypeError, match="is not a number of bytes, such as 2GiB"):
        options.size(text)
