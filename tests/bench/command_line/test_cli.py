"""What every command does alike."""

import importlib
import re
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from bench.command_line import cli
from pipelines.host import runtime
from tests.bench.conftest import ROOT, environment

COMMANDS = {
    "bisection": ["HEAD~1", "HEAD"],
    "compare": ["a", "b"],
    "data": ["digits"],
    "doctor": ["digits/quick"],
    "estimate": ["digits/quick"],
    "exchange": ["to-mlperf", "run", "--out", "out"],
    "gate": ["baseline", "--new", "runs"],
    "measured_tables": [],
    "query": ["select 1"],
    "recipes": ["list"],
    "report": ["runs"],
    "roofline": ["digits/quick"],
    "run": ["digits/quick"],
    "scale": ["digits/quick"],
    "search": ["digits/quick", "optimizer.lr=1..2"],
    "show": ["runs"],
    "simulate": [],
    "sweep": ["digits/quick"],
}
"""every command, with arguments that it accepts"""
BROKEN = {
    "bisection": "bench.bisection.commit_of",
    "compare": "results.compare.compare",
    "data": "bench.data.load",
    "doctor": "pipelines.recipe.load_any",
    "estimate": "bench.command_line.jobs.select",
    "exchange": "results.store.read",
    "gate": "results.samples.resolve",
    "measured_tables": "bench.measured_tables.with_figures",
    "query": "results.query.database",
    "recipes": "pipelines.recipe.names",
    "report": "results.samples.find_runs",
    "roofline": "pipelines.recipe.load",
    "run": "bench.command_line.jobs.jobs",
    "scale": "bench.command_line.jobs.load",
    "search": "bench.searching.search_space.split",
    "show": "results.store.find",
    "simulate": "bench.simulate.simulate",
    "sweep": "bench.command_line.jobs.select",
}
"""a function that each command calls"""


def main_of(name):
    return importlib.import_module(f"bench.{name}").main


def test_every_command_is_tested():
    scripts = [path.stem for path in (ROOT / "bench").glob("*.py") if "@cli.command" in path.read_text()]
    assert sorted(scripts) == sorted(COMMANDS)
    guarded = [path.stem for path in (ROOT / "bench").glob("*.py") if "sys.exit(main())" in path.read_text()]
    assert sorted(guarded) == sorted(COMMANDS)


@pytest.fixture
def broken(monkeypatch, tmp_path):
    """Makes a command raise something in the middle of its work; returns its `main` and its arguments."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(runtime, "prepare", lambda threads: None)

    def call(name, error):
        def fail(*arguments, **more):
            raise error

        main = main_of(name)
        if name == "compare":
            monkeypatch.setattr("results.samples.resolve", lambda *arguments: [])
        monkeypatch.setattr(BROKEN[name], fail)
        return main(COMMANDS[name])

    return call


@pytest.mark.parametrize("name", COMMANDS)
def test_an_unexpected_exception_is_status_3_with_its_traceback_in_a_log_file(name, broken, capsys):
    assert broken(name, ZeroDivisionError("planted")) == 3
    message = capsys.readouterr().err
    head = f"bench/{name}.py: internal error: ZeroDivisionError: planted; the traceback is in "
    assert message.startswith(head)
    assert message.count("\n") == 1
    log = Path(message.removeprefix(head).strip()).read_text()
    assert log.startswith("Traceback")
    assert "planted" in log


@pytest.mark.parametrize("error", [ValueError("mend me"), FileNotFoundError("mend me")])
@pytest.mark.parametrize("name", COMMANDS)
def test_what_the_caller_can_mend_is_one_line_and_status_2(name, error, broken, capsys):
    assert broken(name, error) == 2
    assert capsys.readouterr().err == f"bench/{name}.py: error: mend me\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_an_unknown_option_is_one_line_and_status_2(name, capsys):
    with pytest.raises(SystemExit) as leaving:
        main_of(name)([*COMMANDS[name], "--no-such-option"])
    assert leaving.value.code == 2
    message = capsys.readouterr().err
    assert message.startswith(f"bench/{name}.py: error: ")
    assert message.endswith("; see --help\n")
    assert message.count("\n") == 1


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_says_the_exit_statuses(name, capsys):
    with pytest.raises(SystemExit) as leaving:
        main_of(name)(["--help"])
    assert leaving.value.code == 0
    assert "exit status: 0 ok, 1 worse, 2 " in capsys.readouterr().out


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt, 130), (cli.Terminated, 143)])
def test_signals_have_the_statuses_of_a_shell(broken, error, status, capsys):
    assert broken("recipes", error) == status
    assert capsys.readouterr().err == ""


def test_without_room_for_a_log_file_the_traceback_is_printed(monkeypatch, capsys):
    def fail(*arguments, **more):
        raise OSError("no space")

    monkeypatch.setattr("tempfile.NamedTemporaryFile", fail)
    assert cli.print_internal_error("bench/run.py", ZeroDivisionError("planted")) == 3
    message = capsys.readouterr().err
    assert "ZeroDivisionError: planted\n" in message
    assert message.endswith("the traceback is above\n")


@pytest.mark.parametrize(
    ("variables", "prefix"),
    [({}, ""), ({"RANK": "0", "WORLD_SIZE": "1"}, ""), ({"RANK": "1", "WORLD_SIZE": "2"}, "[rank1]: ")],
)
def test_each_of_several_processes_names_its_rank(variables, prefix):
    assert cli.rank_prefix(variables) == prefix


def shell(line, **variables):
    """A shell command line in which $PYTHON runs this Python."""
    variables = environment(PYTHON=sys.executable) | variables
    return subprocess.run(["bash", "-o", "pipefail", "-c", line], cwd=ROOT, env=variables, capture_output=True)


def test_a_reader_that_goes_away_is_no_error():
    ended = shell("$PYTHON bench/recipes.py list | head -n 1")
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert ended.stdout.count(b"\n") == 1


@pytest.mark.parametrize("closed", [">&-", "<&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_error(closed):
    ended = shell(f"$PYTHON bench/recipes.py list {closed}")
    assert (ended.returncode, ended.stderr) == (0, b"")


FULL = Path("/dev/full")


@pytest.mark.skipif(not FULL.exists(), reason="the system has no /dev/full")
def test_a_full_disk_under_standard_output_is_one_line_and_status_2():
    ended = shell("$PYTHON bench/recipes.py list > /dev/full")
    message = "bench/recipes.py: error: [Errno 28] No space left on device: 'standard output'\n"
    assert (ended.returncode, ended.stderr.decode()) == (2, message)


@pytest.mark.skipif(not FULL.exists(), reason="the system has no /dev/full")
def test_a_full_disk_under_standard_error_leaves_the_status_as_it_is():
    assert shell("$PYTHON bench/recipes.py show nosuch 2> /dev/full").returncode == 2


def test_unbuffered_output_is_not_kept_back():
    program = "import os; from bench.command_line import cli; cli.make_streams_safe(); print('seen'); os._exit(0)"
    assert shell(f'$PYTHON -c "{program}"', PYTHONUNBUFFERED="1").stdout == b"seen\n"


def test_only_json_is_on_standard_output():
    """Also where a process that the training starts prints there, as the compiler of a library does."""
    program = (
        "import os; from bench.command_line import cli; cli.make_streams_safe()\n"
        "with cli.kept_for_json(True): print('a function', flush=True); os.system('echo a process')\n"
        "cli.print_json(1)"
    )
    ended = shell(f'$PYTHON -c "{program}"')
    assert (ended.stdout, ended.stderr) == (b"1\n", b"a function\na process\n")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_console_without_our_characters_is_no_error(encoding):
    program = "from bench.command_line import cli; cli.make_streams_safe(); print('± 1 × 2 → 3 … ‡ †')"
    ended = shell(f'$PYTHON -c "{program}"', PYTHONIOENCODING=encoding)
    assert (ended.returncode, ended.stderr) == (0, b"")
    plus_minus = "±" if encoding == "latin-1" else "+-"
    times = "×" if encoding == "latin-1" else "x"
    assert ended.stdout.decode(encoding) == f"{plus_minus} 1 {times} 2 -> 3 ... # ^\n"


def test_ctrl_c_during_a_command_is_130():
    program = (
        "import os, signal\nfrom bench.command_line import cli\n"
        f"def main(arguments): os.kill(os.getpid(), {int(signal.SIGINT)})\n"
        "raise SystemExit(cli.command(main)())"
    )
    ended = subprocess.run([sys.executable, "-c", program], env=environment(), cwd=ROOT, capture_output=True)
    assert (ended.returncode, ended.stderr) == (130, b"")


OWN_TREE = """
if __name__ == "__main__":  # this tree, whatever else is installed
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
"""
OWN_FOLDERS = ("bench", "kernels", "paceline", "pipelines", "results")


@pytest.mark.parametrize("name", COMMANDS)
def test_a_script_looks_in_its_own_tree_before_it_imports_from_it(name):
    before, _, after = (ROOT / "bench" / f"{name}.py").read_text().partition(OWN_TREE)
    imports_ours = re.compile(rf"^(from|import) ({'|'.join(OWN_FOLDERS)})\b", re.MULTILINE)
    assert not imports_ours.search(before)
    assert imports_ours.search(after)


def test_a_script_runs_its_own_tree(tmp_path):
    """Also where another tree comes first on the path, as that of an editable installation may."""
    other = tmp_path / "other" / "bench"
    other.mkdir(parents=True)
    (other / "__init__.py").write_text("raise RuntimeError('the wrong tree')")
    command = [sys.executable, str(ROOT / "bench" / "run.py"), "--help"]
    variables = environment() | {"PYTHONPATH": str(other.parent)}
    ended = subprocess.run(command, env=variables, cwd=tmp_path, capture_output=True)
    assert (ended.returncode, ended.stderr) == (0, b"")


@pytest.mark.parametrize(
    ("file", "shown"),
    [
        (ROOT / "pipelines" / "preflight.py", "warning: bfloat16 is slow\n"),
        (ROOT / ".venv" / "library.py", f"{ROOT / '.venv' / 'library.py'}:7: UserWarning: bfloat16 is slow\n"),
        (Path("/usr/library.py"), "/usr/library.py:7: UserWarning: bfloat16 is slow\n"),
    ],
)
def test_a_warning_of_our_own_is_one_line(capsys, file, shown):
    @cli.command
    def main(arguments):
        warnings.warn_explicit("bfloat16 is slow", UserWarning, str(file), 7)
        return 0

    shows = warnings.showwarning
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = python_shows
        assert main([]) == 0
        assert warnings.showwarning is python_shows
    assert warnings.showwarning is shows
    assert capsys.readouterr().err == shown


def python_shows(message, category, filename, line, file=None, text=None):
    """As Python does outside pytest, which keeps warnings for its summary."""
    sys.stderr.write(warnings.formatwarning(message, category, filename, line, ""))
