"""What a shell is told when it completes a command line (argcomplete)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.conftest import ROOT, RUN, environment


def completions(tmp_path, line, script=RUN):
    """The words that the last word of a command line may be completed to."""
    argcomplete = pytest.importorskip("argcomplete")
    told = tmp_path / "told"
    variables = environment(
        PYTHONPATH=os.pathsep.join([str(ROOT), str(Path(argcomplete.__file__).parents[1])]),
        _ARGCOMPLETE="1",
        _ARGCOMPLETE_IFS="\n",
        _ARGCOMPLETE_SUPPRESS_SPACE="1",
        _ARGCOMPLETE_STDOUT_FILENAME=str(told),
        _ARGCOMPLETE_COMP_WORDBREAKS=" \t\n",
        COMP_TYPE="9",
        COMP_LINE=line,
        COMP_POINT=str(len(line)),
    )
    ended = subprocess.run([sys.executable, str(script)], env=variables, cwd=tmp_path, capture_output=True, text=True)
    assert ended.stderr == ""
    return [word.strip() for word in told.read_text().split("\n")]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("run.py --tri", ["--trials"]),
        ("run.py mnist/ba", ["mnist/base", "mnist/base-tuned"]),
        ("run.py epo", ["epochs="]),
        ("run.py --suite night", ["nightly", "nightly-gpu"]),
    ],
)
def test_options_recipes_and_their_options_are_completed(tmp_path, line, words):
    assert completions(tmp_path, line) == words


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("gate.py --undecided ", ["fail", "ok"]),
        ("compare.py --format ", ["table", "markdown", "csv", "json"]),
        ("report.py --tit", ["--title"]),
        ("show.py --pro", ["--protocol"]),
        ("exchange.py to-t", ["to-tensorboard"]),
    ],
)
def test_choices_of_other_commands_are_completed(tmp_path, line, words):
    assert completions(tmp_path, line, ROOT / "bench" / line.split()[0]) == words
    assert [path.name for path in tmp_path.iterdir()] == ["told"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("paceline rep", ["report"]),
        ("paceline sh", ["show"]),
        ("paceline run --tri", ["--trials"]),
        ("paceline report --tit", ["--title"]),
        ("paceline query --format ", ["table", "csv", "json"]),
    ],
)
def test_commands_of_paceline_and_their_options_are_completed(tmp_path, line, words):
    assert completions(tmp_path, line, ROOT / "paceline" / "__main__.py") == words
