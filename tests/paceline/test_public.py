"""The public package: what it exports, and where it can be imported."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import paceline
from bench import __version__
from paceline.__main__ import COMMANDS, main
from results import store
from tests.bench.conftest import environment

ROOT = Path(__file__).resolve().parents[2]

WRONG = ("results.py", "bench/__init__.py", "configs/__init__.py", "kernels.py", "pipelines/__init__.py")


@pytest.fixture
def cluttered(tmp_path):
    """A folder with files that are called as ours are."""
    for name in WRONG:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("raise RuntimeError('the wrong one')\n")
    return tmp_path


def python(*arguments, cwd):
    """Python in a process of its own, with our tree at the end of the path as an installed package has it."""
    site = cwd / "site"
    site.mkdir(exist_ok=True)
    (site / "sitecustomize.py").write_text(f"import sys\nsys.path.append({str(ROOT)!r})\n")
    variables = environment(PYTHONPATH=str(site))
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=variables, capture_output=True, text=True, check=False
    )


def test_everything_that_is_exported_is_documented():
    assert [name for name in paceline.__all__ if not getattr(paceline, name).__doc__] == []
    assert [name for name in paceline.trial.__all__ if not hasattr(paceline.trial, name)] == []


def test_it_imports_no_torch(tmp_path):
    ended = python("-c", "import sys, paceline; print('torch' in sys.modules)", cwd=tmp_path)
    assert (ended.stdout, ended.stderr) == ("False\n", "")


def test_it_finds_its_own_packages_in_a_folder_that_has_others_of_their_names(cluttered):
    code = "import paceline, results, bench.command_line.cli; from results import store; print(results.__path__)"
    ended = python("-c", code, cwd=cluttered)
    assert ended.stderr == ""
    assert str(ROOT / "results") in ended.stdout


def test_the_path_is_left_as_it_was(tmp_path):
    code = "import sys; before = list(sys.path); import paceline; print(sys.path == before)"
    assert python("-c", code, cwd=tmp_path).stdout == "True\n"


def test_a_package_of_another_s_that_was_imported_before_is_named(tmp_path):
    (tmp_path / "results.py").write_text("")
    ended = python("-c", "import results, paceline", cwd=tmp_path)
    assert "results.py was imported as 'results', a package of Paceline: import paceline first" in ended.stderr


def test_the_command_works_in_a_folder_that_has_others_of_their_names(cluttered):
    ended = python("-m", "paceline", "recipes", "list", "digits/*", "--json", cwd=cluttered)
    assert ended.stderr == ""
    assert [json.loads(line)["name"] for line in ended.stdout.splitlines()] == ["digits/quick", "digits/short"]


def test_a_function_is_trained_in_a_folder_that_has_others_of_their_names(cluttered):
    (cluttered / "mine.py").write_text(
        "from paceline import trial\ndef train(run: trial.Run) -> float:\n    return 0.75\n"
    )
    command = ("run", "mine.py:train", "--target", "0.5", "--trials", "1", "--device", "cpu", "--threads", "1")
    ended = python("-m", "paceline", *command, cwd=cluttered)
    assert (ended.returncode, ended.stderr) == (0, "")
    (run,) = store.find([cluttered / "runs"])
    assert run.trials[0].accuracy == 0.75
    assert run.record.command == ["bench/run.py", *command[1:]]


def test_every_command_is_a_file_of_bench():
    scripts = {path.stem for path in (ROOT / "bench").glob("*.py") if "sys.exit(main())" in path.read_text()}
    assert set(COMMANDS) == scripts - {"measured_tables", "simulate"}, "which are for this repository alone"


def test_without_a_command_they_are_listed(capsys):
    assert main([]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("  ")] == list(COMMANDS)


def test_the_version_needs_no_command(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"Paceline {__version__}\n"


def test_an_unknown_command_is_one_line(capsys):
    assert main(["trian"]) == 2
    assert capsys.readouterr().err.startswith(
        "paceline: error: there is no command 'trian'; there are run, show, compare"
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    try:
        status = main([name, "--help"])
    except SystemExit as leaving:
        status = leaving.code
    assert status == 0
    printed = capsys.readouterr().out
    assert f"paceline {name}" in printed
    assert "bench/" not in printed.replace("bench/run.py", ""), "which --launcher may start"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "--trails", "3"], "paceline run: error: unrecognized arguments: --trails (did you mean --trials?)"),
        (["run", "mnist/bsae"], "paceline recipes list shows them all"),
        (["data", "imagenet"], "paceline data: error: there is no data set 'imagenet'"),
        (["report", "nowhere"], "paceline report: error: "),
    ],
)
def test_errors_name_the_command_that_was_typed(words, message, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/usr/bin/paceline"])
    try:
        status = main(words)
    except SystemExit as leaving:
        status = leaving.code
    assert status == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert "bench/" not in printed


def test_errors_name_the_module_where_that_was_typed(tmp_path):
    ended = python("-m", "paceline", "run", "nothing.py:train", "--target", "0.5", cwd=tmp_path)
    assert ended.returncode == 2
    assert ended.stderr == "python -m paceline run: error: nothing.py: there is no such file\n"


@pytest.mark.slow
def test_a_wheel_has_everything_that_the_commands_need(tmp_path):
    build = "from setuptools import build_meta; print(build_meta.build_wheel(__import__('sys').argv[1]))"
    source = tmp_path / "source"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(source)], check=True)
    for name in subprocess.check_output(["git", "ls-files", "-mo", "--exclude-standard"], cwd=ROOT, text=True).split():
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    built = subprocess.run(
        [sys.executable, "-c", build, str(tmp_path)], cwd=source, capture_output=True, text=True, check=True
    )
    wheel = tmp_path / built.stdout.split()[-1]
    site = tmp_path / "site"
    subprocess.run([sys.executable, "-m", "zipfile", "-e", str(wheel), str(site)], check=True)
    assert (site / "paceline" / "py.typed").exists()
    (tmp_path / "mine.py").write_text("def train(run):\n    return 0.75\n")
    variables = environment(PYTHONPATH=str(site)) | {"PACELINE_DATA": os.environ.get("PACELINE_DATA", "data")}

    def command(*words):
        return subprocess.run(
            [sys.executable, "-m", "paceline", *words], cwd=tmp_path, env=variables, capture_output=True, text=True
        )

    small = ("--trials", "2", "--device", "cpu", "--threads", "1", "--target", "0.5")
    ended = command("run", "mine.py:train", "digits/quick", "epochs=1", *small)
    assert ended.returncode == 2, "epochs is no argument of the function"
    assert command("run", "digits/quick", "epochs=1", "model.widths=[4]", *small).returncode == 0
    assert command("run", "mine.py:train", *small).returncode == 0
    compared = command("compare", "runs/*digits*", "runs/*mine*", "--format", "json")
    assert {row["verdict"] for row in json.loads(compared.stdout)} == {"not comparable"}, compared.stderr
