"""The arrows between the folders run one way, and files stay short."""

import ast
import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
OURS = ("bench", "configs", "kernels", "pipelines", "results", "tests")


def python_files(*folders):
    return sorted(path for folder in folders for path in (REPOSITORY / folder).rglob("*.py"))


def imported(path):
    """The top-level modules that a file imports anywhere in it, also by a constant name through importlib."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = path.relative_to(REPOSITORY).parts[0] if node.level else node.module
            found.add(package.split(".")[0])
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) == "import_module":
            name = node.args[0]
            text = name.values[0] if isinstance(name, ast.JoinedStr) else name
            if isinstance(text, ast.Constant):
                found.add(str(text.value).split(".")[0])
    return found


@pytest.mark.parametrize(
    ("folder", "forbidden"),
    [
        ("kernels", {"bench", "pipelines", "results", "configs", "tests"}),
        ("pipelines", {"bench", "results", "tests"}),
        ("results", {"torch", "torchvision", "bench", "pipelines", "kernels", "tests"}),
        ("bench", {"tests"}),
    ],
)
def test_imports_run_one_way(folder, forbidden):
    files = python_files(folder)
    assert files
    wrong = {str(path.relative_to(REPOSITORY)): imported(path) & forbidden for path in files}
    assert {path: names for path, names in wrong.items() if names} == {}


def test_the_arrows_that_are_there_are_seen():
    """So that the test above is not green because it sees nothing."""
    assert "kernels" in set().union(*map(imported, python_files("pipelines")))
    assert {"pipelines", "results", "torch"} <= set().union(*map(imported, python_files("bench")))


def test_nothing_in_bench_hides_another_module():
    """bench/ comes first on sys.path when one of its files is run."""
    names = {path.stem for path in (REPOSITORY / "bench").iterdir() if path.suffix == ".py" or path.is_dir()}
    taken = sys.stdlib_module_names | set(importlib.metadata.packages_distributions())
    assert names & (taken - {"__init__", "__pycache__"}) == set()


def modules_after(statement):
    program = f"import sys\n{statement}\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    command = [sys.executable, "-c", program]
    return set(subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout.split())


def test_recipes_are_read_without_torch():
    assert "torch" not in modules_after("from pipelines import recipe\nrecipe.load('digits/quick')\nrecipe.names()")


def test_results_are_read_without_torch():
    files = [path for path in python_files("results") if path.stem != "__init__"]
    names = [".".join(path.relative_to(REPOSITORY).with_suffix("").parts) for path in files]
    modules = modules_after("\n".join(f"import {name}" for name in names))
    assert "results" in modules
    assert modules & {"torch", "pipelines", "bench"} == set()


def lines(path):
    return len(path.read_text(encoding="utf-8").splitlines())


def test_files_are_short():
    long = {str(path.relative_to(REPOSITORY)): lines(path) for path in python_files(*OURS) if lines(path) > 300}
    assert long == {}


def test_the_main_command_is_a_page():
    assert lines(REPOSITORY / "bench" / "run.py") < 100
